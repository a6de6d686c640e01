import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'

/** The hostile clients of the tests, more of them: npm run hostile -- -connections 5000. Exit 1 when something gives way. */

const DEFAULT = '5000'

const { values } = parseArgs({
  // parseArgs knows no flag with one dash.
  args: process.argv.slice(2).map((word) => word.replace(/^-(?=[a-z]{2})/, '--')),
  options: { connections: { type: 'string', default: DEFAULT } },
})
const connections = Number(values.connections)
if (!Number.isInteger(connections) || connections < 1 || connections > 20_000) {
  console.error(`-connections ${values.connections}: expected a whole number from 1 to 20000`)
  process.exitCode = 2
} else {
  const { status } = spawnSync(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      'tests/cmd/hostile.test.ts',
      'tests/cmd/hostile-state.test.ts',
    ],
    { stdio: 'inherit', env: { ...process.env, HOSTILE_CONNECTIONS: String(connections) } },
  )
  process.exitCode = status ?? 1
}
