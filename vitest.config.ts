import { defineConfig } from 'vitest/config'

// Suites are the folders of tests/: each can be run by its name, and the run ends with their seconds.
export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    globalSetup: ['tests/support/shared-servers.ts'],
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 60_000,
    passWithNoTests: false,
  },
})
