/** A file inside a package, pinned to its content. `path` is the one inside the archive, below its root folder if it has one. */
export interface SourceFile {
  path: string;
  size: number;
  sha256: string;
}

interface PackageBase {
  name: string;
  version: string;
  /** SPDX identifier of the licence that the package states. */
  license: string;
  files: SourceFile[];
}

export interface NpmPackage extends PackageBase {
  client: 'npm';
}

export interface PipPackage extends PackageBase {
  client: 'pip';
  archive: 'wheel' | 'sdist';
  /** pip runs a source archive's set-up code to learn its name, so the archive is pinned before that, not only its files. */
  archiveSha256: string;
}

export type SourcePackage = NpmPackage | PipPackage;

/** How one of this project's files is made out of one package's files. */
export type Recipe =
  /** PyTorch state dicts into one safetensors file, each name behind its network's prefix. */
  | { from: 'torch'; package: string; model: string; stateDicts: { prefix: string; path: string }[] }
  /** TensorFlow.js weights into safetensors, restored from their quantised bytes. */
  | { from: 'tfjs'; package: string; model: string; manifest: string; weights: string }
  /** The file as it is. */
  | { from: 'file'; package: string; path: string };

/** A file of the models or the photos folder; `file` is its path there, with `/`. */
export interface Output {
  file: string;
  recipe: Recipe;
}

export interface Manifest {
  packages: SourcePackage[];
  models: Output[];
  photos: Output[];
}

const FACENET_PYTORCH: PipPackage = {
  client: 'pip',
  name: 'facenet-pytorch',
  version: '2.6.0',
  license: 'MIT',
  archive: 'wheel',
  archiveSha256: 'ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca',
  files: [
    {
      path: 'facenet_pytorch/data/pnet.pt',
      size: 28_570,
      sha256: 'a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f',
    },
    {
      path: 'facenet_pytorch/data/rnet.pt',
      size: 403_147,
      sha256: 'bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86',
    },
    {
      path: 'facenet_pytorch/data/onet.pt',
      size: 1_559_269,
      sha256: '165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d',
    },
  ],
};

const FACE_API: NpmPackage = {
  client: 'npm',
  name: '@vladmandic/face-api',
  version: '1.7.15',
  license: 'MIT',
  files: [
    {
      path: 'model/face_recognition_model-weights_manifest.json',
      size: 19_615,
      sha256: 'cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b',
    },
    {
      path: 'model/face_recognition_model.bin',
      size: 6_444_032,
      sha256: 'b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589',
    },
    { path: 'demo/sample1.jpg', size: 144_516, sha256: '8ecae4b267b2d3169e06e00c7dee97097aa2a94635d45216f7732a5f4943cb51' },
    { path: 'demo/sample2.jpg', size: 181_758, sha256: '7d2b60ae6f13bf30f422e04df87451081a02c83de469056f25afb44b7000c691' },
    { path: 'demo/sample3.jpg', size: 221_049, sha256: '8eb081c9efb14370fa94d9feab9e5fbeafd19a627491853a80c2bf67f7ffa936' },
    { path: 'demo/sample4.jpg', size: 210_824, sha256: '729efa5923061d40eb4ed5f267a18cc7b8ba6f852bb2757b16d8b7e4937476fc' },
    { path: 'demo/sample5.jpg', size: 166_400, sha256: '6d45095ebb182d8f975c0790e0e4eefd86fbb40609cf4b271776d92e12662938' },
    { path: 'demo/sample6.jpg', size: 302_445, sha256: '9baad80f9d5e306fb9b8c0913d44445f1e95848df317530efb03d0934c57ba87' },
  ],
};

const FACE_RECOGNITION: PipPackage = {
  client: 'pip',
  name: 'face_recognition',
  version: '1.3.0',
  license: 'MIT',
  archive: 'sdist',
  archiveSha256: '5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec',
  files: [
    {
      path: 'tests/test_images/obama.jpg',
      size: 279_922,
      sha256: '0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6',
    },
    {
      path: 'tests/test_images/obama2.jpg',
      size: 184_455,
      sha256: 'a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6',
    },
    {
      path: 'tests/test_images/obama3.jpg',
      size: 595_944,
      sha256: '76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3',
    },
    {
      path: 'tests/test_images/biden.jpg',
      size: 353_723,
      sha256: '3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c',
    },
    {
      path: 'tests/test_images/obama_partial_face.jpg',
      size: 423_060,
      sha256: 'c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117',
    },
    {
      path: 'tests/test_images/obama_partial_face2.jpg',
      size: 478_346,
      sha256: '9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028',
    },
  ],
};

/** The photos of a package, all into one folder under their own names. */
function photosOf({ name, files }: SourcePackage, folder: string): Output[] {
  return files
    .filter(({ path }) => path.endsWith('.jpg'))
    .map(({ path }) => ({
      file: `${folder}/${path.slice(path.lastIndexOf('/') + 1)}`,
      recipe: { from: 'file', package: name, path },
    }));
}

/** Every file that this project fetches: where from, its size and SHA-256, its licence, and what becomes of it. */
export const MANIFEST: Manifest = {
  packages: [FACENET_PYTORCH, FACE_API, FACE_RECOGNITION],
  models: [
    {
      file: 'mtcnn.safetensors',
      recipe: {
        from: 'torch',
        package: FACENET_PYTORCH.name,
        model: 'mtcnn',
        stateDicts: [
          { prefix: 'pnet.', path: 'facenet_pytorch/data/pnet.pt' },
          { prefix: 'rnet.', path: 'facenet_pytorch/data/rnet.pt' },
          { prefix: 'onet.', path: 'facenet_pytorch/data/onet.pt' },
        ],
      },
    },
    {
      file: 'resnet128.safetensors',
      recipe: {
        from: 'tfjs',
        package: FACE_API.name,
        model: 'resnet128',
        manifest: 'model/face_recognition_model-weights_manifest.json',
        weights: 'model/face_recognition_model.bin',
      },
    },
  ],
  photos: [...photosOf(FACE_RECOGNITION, 'face_recognition'), ...photosOf(FACE_API, 'face-api')],
};
