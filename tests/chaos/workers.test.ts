import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { Workers } from './harness/workers.ts'

/** Node ends with code 1 over it. */
const program = 'tests/chaos/no-such-program.ts'
const workers = new Workers({ program, argv: [], env: {}, etcdPort: null, restartMs: 50 })

afterEach(() => workers.end())

test('a worker that could not start is started again once, also when it is started or ended meanwhile', async () => {
  const [first, same] = await Promise.all([workers.start(1), workers.start(1)])
  expect(same).toBe(first)
  expect((await first.program.exited).code).toBe(1)
  const second = await workers.start(1)
  expect(second).not.toBe(first)
  await until(() => workers.lives.length === 3, { timeoutMs: 10_000 })
  expect(workers.running.map(({ worker }) => worker)).toEqual([1])
  await workers.kill(1)
  await workers.end()
  expect(workers.lives.filter(({ program }) => program.isRunning)).toEqual([])
  expect(workers.lives).toHaveLength(3)
  await expect(workers.start(1)).rejects.toThrow('the run is over')
})

test('a frozen worker is woken to be stopped', async ({ onTestFinished }) => {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-chaos-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'waits.mjs')
  writeFileSync(
    path,
    `process.on('SIGTERM', () => process.exit(0))\nsetInterval(() => undefined, 1000)\nconsole.log('{"msg":"waits"}')\n`,
  )
  const patient = new Workers({ program: relative('.', path), argv: [], env: {}, etcdPort: null })
  onTestFinished(() => patient.end())
  const { program } = await patient.start(1)
  await program.line('waits')
  patient.freeze(1)
  expect(patient.isFrozen(1)).toBe(true)
  await patient.stop(1)
  expect(patient.problems).toEqual([])
  expect((await program.exited).code).toBe(0)
})
