import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = join(__dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-sqlite-'));
const node = join(folder, 'bin/node');
afterAll(() => rmSync(folder, { recursive: true }));

/** Where neither its publisher's build nor nodejs.org can be reached: what npm is told of Node's headers does not count. */
const environment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: [join(folder, 'bin'), process.env.PATH].join(delimiter),
  npm_config_userconfig: join(folder, 'npmrc'),
  npm_config_devdir: join(folder, 'headers'),
  npm_config_disturl: 'http://127.0.0.1:9/',
  npm_config_prefer_offline: 'true',
  // The test need not wait for fast code.
  CFLAGS: '-O0',
  CXXFLAGS: '-O0',
};
delete environment.npm_config_nodedir;

beforeAll(() => {
  for (const each of ['bin', 'app/node_modules']) mkdirSync(join(folder, each), { recursive: true });
  copyFileSync(process.execPath, node); // which has no headers beside it
  const settings = process.env.npm_config_userconfig ?? join(homedir(), '.npmrc');
  const lines = existsSync(settings) ? readFileSync(settings, 'utf8').split('\n') : [];
  writeFileSync(join(folder, 'npmrc'), lines.filter((line) => !line.includes('nodedir')).join('\n'));
  // Without prebuild-install, which fetches the publisher's build.
  writeFileSync(join(folder, 'app/package.json'), '{ "private": true, "dependencies": { "better-sqlite3": "*" } }');
  for (const name of ['better-sqlite3', 'bindings', 'file-uri-to-path']) {
    const filter = (path: string) => basename(path) !== 'build';
    cpSync(join(root, 'node_modules', name), join(folder, 'app/node_modules', name), { recursive: true, filter });
  }
});

/** Whether npm has this Node, headers and all. */
const offered = () => {
  const { stdout } = spawnSync('npm', ['view', `node-${process.platform}-${process.arch}@${process.versions.node}`, 'version'], { encoding: 'utf8' });
  return stdout?.trim() === process.versions.node;
};

it('better-sqlite3 is compiled with the headers of npm’s Node where nothing else has any', { timeout: 600_000 }, (test) => {
  if (!offered()) test.skip(`npm has no Node ${process.versions.node} here`);
  const step = pathToFileURL(join(root, 'scripts/setup/sqlite.mjs')).href;
  const code = `
    import { createRequire } from 'node:module'
    import { sqlite } from ${JSON.stringify(step)}
    const [folder, cache, log] = ['app', 'cache', 'log'].map((name) => ${JSON.stringify(`${folder}/`)} + name)
    const context = { folder, cache, log, environment: process.env }
    const before = await sqlite.done(context)
    const told = []
    await sqlite.run(context, { update: (what) => told.push(what) })
    const Database = createRequire(folder + '/package.json')('better-sqlite3')
    const { version } = new Database(':memory:').prepare('SELECT sqlite_version() AS version').get()
    console.log(JSON.stringify({ before, told, after: await sqlite.done(context), version }))`;
  const said = execFileSync(node, ['--input-type=module', '-e', code], { cwd: folder, env: environment, encoding: 'utf8' });
  expect(JSON.parse(said)).toEqual({
    told: ['npm rebuild better-sqlite3', `npm install node-${process.platform}-${process.arch}@${process.versions.node}`, 'npm rebuild better-sqlite3'],
    after: 'better-sqlite3',
    version: expect.stringMatching(/^3\./),
  });
});
