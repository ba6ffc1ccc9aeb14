// docs/bundlers.md: with faiss-vision as an external package its addon is found; without, the error names that page.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheFolder } from '../dist/models/cache';

const root = join(__dirname, '..');
const project = mkdtempSync(join(tmpdir(), 'faiss-vision-bundlers-'));

beforeAll(() => {
  const installed = join(project, 'node_modules', 'faiss-vision');
  const platform = join(project, 'node_modules', '@faiss-vision', 'linux-x64');
  for (const part of ['dist', 'package.json']) cpSync(join(root, part), join(installed, part), { recursive: true });
  cpSync(join(root, 'node_modules', 'node-gyp-build'), join(project, 'node_modules', 'node-gyp-build'), { recursive: true });
  cpSync(join(root, 'packages', 'linux-x64'), platform, { recursive: true });
  cpSync(join(root, 'build', 'Release', 'ann.node'), join(platform, 'prebuilds', 'linux-x64', 'ann.glibc.node'));
  writeFileSync(
    join(project, 'app.mjs'),
    `import { Ann } from 'faiss-vision/ann';
    export function search() {
      const ann = new Ann({ dimension: 2, threshold: 0.5 });
      ann.addSync(Float32Array.of(1, 2));
      return ann.searchSync(Float32Array.of(2, 4))[0].found;
    }
    try { console.log(search()); } catch ({ code, message }) { console.log(code, message); }`,
  );
});
afterAll(() => rmSync(project, { recursive: true }));

const entry = () => join(project, 'app.mjs');
const at = (name: string) => join(project, 'out', name);
const run = (file: string): string => {
  const { stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
  return stdout.trim() || stderr;
};
/** Where no node_modules are beside the bundle, as on a server that it alone is copied to. */
function alone(file: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bundle-'));
  try {
    cpSync(file, join(folder, 'app', file.endsWith('.mjs') ? 'app.mjs' : 'app.cjs'));
    return run(join(folder, 'app', file.endsWith('.mjs') ? 'app.mjs' : 'app.cjs'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

type Bundle = (file: string, external: boolean) => Promise<void>;

const esbuild = (format: 'cjs' | 'esm'): Bundle => async (outfile, external) => {
  const { build } = await import('esbuild');
  const setting = external ? { external: ['faiss-vision'] } : {};
  await build({ entryPoints: [entry()], outfile, format, bundle: true, platform: 'node', logLevel: 'silent', ...setting });
};

const webpack: Bundle = async (file, external) => {
  const { default: webpack } = await import('webpack');
  const stats = await new Promise<import('webpack').Stats | undefined>((resolve, reject) => {
    const configuration: import('webpack').Configuration = {
      mode: 'production',
      target: 'node',
      entry: entry(),
      output: { path: join(project, 'out'), filename: basename(file) },
    };
    if (external) configuration.externals = [/^faiss-vision(\/|$)/];
    if (external) configuration.externalsType = 'commonjs';
    webpack(configuration, (error, result) => (error ? reject(error) : resolve(result)));
  });
  expect(stats?.compilation.errors).toEqual([]);
};

const vite: Bundle = async (file, external) => {
  const { build } = await import('vite');
  await build({
    root: project,
    configFile: false,
    logLevel: 'silent',
    build: { ssr: entry(), outDir: join(project, 'out'), emptyOutDir: false, rollupOptions: { output: { entryFileNames: basename(file) } } },
    ssr: external ? { external: ['faiss-vision'] } : { noExternal: true },
  });
};

describe.each<[string, string, Bundle]>([
  ['esbuild, CommonJS', 'esbuild.cjs', esbuild('cjs')],
  ['esbuild, ECMAScript module', 'esbuild.mjs', esbuild('esm')],
  ['webpack', 'webpack.cjs', webpack],
  ['Vite SSR', 'vite.mjs', vite],
])('%s', (_, name, bundle) => {
  beforeAll(() => void mkdirSync(join(project, 'out'), { recursive: true }));

  it('finds the addon where faiss-vision is external', async () => {
    await bundle(at(name), true);
    expect(run(at(name))).toBe('true');
  });

  it('names docs/bundlers.md where it is not', async () => {
    await bundle(at(`inside-${name}`), false);
    const answer = alone(at(`inside-${name}`));
    // esbuild itself ends such a program at the first thing of Node's that a CommonJS package requires; the page quotes it.
    const page = readFileSync(join(root, 'docs', 'bundlers.md'), 'utf8');
    if (name === 'esbuild.mjs') expect(page).toContain(/Dynamic require of "\S+" is not supported/.exec(answer)?.[0]);
    else expect(answer).toMatch(/^ERR_ADDON_UNAVAILABLE .*bundler.*docs\/bundlers\.md/);
  });
});

// Half a minute and 400 MB of packages: FAISS_VISION_TRY_NEXT=1 npm test -- bundlers
describe.runIf(process.env.FAISS_VISION_TRY_NEXT)('Next.js', () => {
  const folder = join(cacheFolder(), 'try-next');
  const app = join(project, 'next');

  beforeAll(() => {
    mkdirSync(folder, { recursive: true });
    const npm = ['install', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error', 'next@16', 'react@19', 'react-dom@19'];
    execFileSync('npm', npm, { stdio: 'pipe' });
    cpSync(join(folder, 'node_modules'), join(app, 'node_modules'), { recursive: true, verbatimSymlinks: true });
    for (const name of ['faiss-vision', '@faiss-vision', 'node-gyp-build']) {
      cpSync(join(project, 'node_modules', name), join(app, 'node_modules', name), { recursive: true });
    }
    mkdirSync(join(app, 'app', 'search'), { recursive: true });
    writeFileSync(join(app, 'package.json'), '{ "private": true }');
    writeFileSync(join(app, 'app', 'layout.js'), 'export default ({ children }) => <html><body>{children}</body></html>;');
    writeFileSync(
      join(app, 'app', 'search', 'page.js'),
      `import { Ann } from 'faiss-vision/ann';
      export default function Page() {
        const ann = new Ann({ dimension: 2, threshold: 0.5 });
        ann.addSync(Float32Array.of(1, 2));
        return <p>found: {String(ann.searchSync(Float32Array.of(2, 4))[0].found)}</p>;
      }`,
    );
  }, 600_000);

  // A page without parameters is rendered while it is built, by the server's own code.
  const build = (settings: string) => {
    writeFileSync(join(app, 'next.config.mjs'), `export default { turbopack: { root: import.meta.dirname }, ${settings} };`);
    rmSync(join(app, '.next'), { recursive: true, force: true });
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(app, 'node_modules/next/dist/bin/next'), 'build'], {
      cwd: app,
      encoding: 'utf8',
      env: { ...process.env, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1' },
    });
    return { status, output: `${stdout}${stderr}` };
  };

  it('finds the addon where faiss-vision is external', () => {
    const { status, output } = build(`serverExternalPackages: ['faiss-vision']`);
    expect(output).not.toContain('Error');
    expect(status).toBe(0);
    expect(readFileSync(join(app, '.next/server/app/search.html'), 'utf8')).toMatch(/found: (<!-- -->)?true/);
  }, 300_000);

  it('copies the addon for a server of its own', () => {
    const tracing = `output: 'standalone', outputFileTracingIncludes: { '/*': ['./node_modules/@faiss-vision/**'] }`;
    expect(build(`serverExternalPackages: ['faiss-vision'], ${tracing}`).status).toBe(0);
    const server = mkdtempSync(join(tmpdir(), 'faiss-vision-standalone-')); // where no other node_modules are near
    try {
      cpSync(join(app, '.next', 'standalone'), server, { recursive: true, verbatimSymlinks: true });
      const code = `new (require('faiss-vision/ann').Ann)({ dimension: 2, threshold: 0.5 }).size`;
      expect(execFileSync(process.execPath, ['-p', code], { cwd: server, encoding: 'utf8' })).toBe('0\n');
    } finally {
      rmSync(server, { recursive: true });
    }
  }, 300_000);

  it('names docs/bundlers.md where it is not', () => {
    expect(build('').output).toMatch(/bundler[^]*docs\/bundlers\.md/);
  }, 300_000);
});
