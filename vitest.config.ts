import { defineConfig } from 'vitest/config'

// Suites are projects so that each can be run, timed and sharded by name; docs/architecture.md lists them.
export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 60_000,
    passWithNoTests: false,
  },
})
