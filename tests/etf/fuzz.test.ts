/** The fuzzer itself, for some seconds: `npm run fuzz` runs it for longer. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const SECONDS = 5
const FIXED_SEED = 20261120
/** Far below what a busy machine does in that time: less means that it does not run at all. */
const EXECUTIONS_MIN = 5_000
const BRANCHES_SHARE_MIN = 0.85
const program = fileURLToPath(new URL('../../scripts/fuzz.ts', import.meta.url))

describe('the fuzzer', () => {
  test.each([FIXED_SEED, Math.floor(Math.random() * 2 ** 32)])(
    `finds no broken promise in ${SECONDS} s (seed %i)`,
    { timeout: 40_000 },
    (seed) => {
      const args = [program, '-seconds', String(SECONDS), '-seed', String(seed)]
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
      const output = `${stdout}${stderr}`
      expect(status, output).toBe(0)
      expect(output).toContain(`seed ${seed}`)
      const [, executions, reached, all] =
        /: (\d+) executions .* branches (\d+) of (\d+)/.exec(output) ?? []
      expect(Number(executions), output).toBeGreaterThan(EXECUTIONS_MIN)
      expect(Number(reached) / Number(all), output).toBeGreaterThan(BRANCHES_SHARE_MIN)
    },
  )
})
