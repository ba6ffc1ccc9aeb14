// Every index library behind one interface, each in a process of its own: `ask(command)` gives the answer, `end()` lets it go.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { pythonPeer } from '../python.mjs';

const nodePeer = (name) => {
  const child = fork(new URL('serve.mjs', import.meta.url), [name], { execArgv: ['--expose-gc'] });
  child.on('exit', (code) => {
    if (code !== 0) throw new Error(`the process of ${name} ended with ${code}`);
  });
  return {
    async ask(command) {
      child.send(command);
      return (await once(child, 'message'))[0];
    },
    end: () => child.disconnect(),
  };
};

/** What can be measured, by name. The commands are those of serve.mjs and index_peer.py. */
export const peers = {
  ours: () => nodePeer('ours'),
  'faiss-cpu': () => pythonPeer(new URL('../index_peer.py', import.meta.url).pathname, ['faiss-cpu', 'numpy']),
  usearch: () => nodePeer('usearch'),
  'hnswlib-node': () => nodePeer('hnswlib-node'),
};
