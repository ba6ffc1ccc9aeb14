import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Native addons live in a process, and the tests of their end need one of their own.
    pool: 'forks',
    // For what hangs: a machine may be ten times slower than the one that these tests were written on.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
