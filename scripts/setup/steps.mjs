import { addons, cudaAddons, cudaVision } from './addons.mjs'
import { cudaTorch } from './cuda-torch.mjs'
import { cudaToolkit } from './cuda.mjs'
import { faiss, faissForCuda } from './faiss.mjs'
import { milvus } from './milvus.mjs'
import { models } from './models.mjs'
import { nodeModules } from './node-modules.mjs'
import { opencv } from './opencv.mjs'
import { packages } from './packages.mjs'
import { sqlite } from './sqlite.mjs'
import { typescript } from './typescript.mjs'

/**
 * In this order, as each needs those before it. A step is
 *   done(context)            what is there already, in a few words, or undefined when there is work
 *   run(context, progress)   does the work; gives back the same few words
 *   work                     what is done, where no line can move to show it
 *   locksItself              whether two of it may run at the same time
 *   advice                   what to do when it fails
 *   forTests                 whether only tests need it
 *   forCuda                  whether only a build for CUDA needs it
 */
export const steps = [
  packages, faiss, cudaToolkit, faissForCuda, nodeModules, typescript, addons, cudaAddons, cudaTorch, cudaVision, models, sqlite, milvus,
]

/** Done only when --only names them. */
export const optionalSteps = [opencv]
