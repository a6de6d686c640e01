import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './tests/support/longest-first.ts'
import { SuiteSeconds } from './tests/support/suite-seconds.ts'

// Suites are the folders of tests/: each can be run by its name (`npm test -- tests/etf`).
export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    globalSetup: ['tests/support/shared-servers.ts'],
    pool: 'forks',
    // Most tests wait for servers more than they compute; still no more files at a time than cores.
    maxWorkers: Math.max(2, availableParallelism()),
    sequence: { sequencer: LongestFirst },
    reporters: [new SuiteSeconds(), 'default'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    passWithNoTests: false,
  },
})
