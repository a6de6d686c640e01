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
