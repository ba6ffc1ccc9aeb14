import { defineConfig } from 'vite'

// `npx vite packages/service/page` shows the page as it is being written, over a service that runs at this address.
const SERVICE = process.env.FAISS_VISION_SERVICE ?? 'http://127.0.0.1:8080'

export default defineConfig({
  root: import.meta.dirname,
  // Wherever the service is reached, also below a path of another server.
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../dist/page',
    emptyOutDir: true,
    target: 'es2022',
    // Nothing inline: the page's Content-Security-Policy takes scripts, styles and pictures from files alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/v1': SERVICE } },
})
