import { expect, test } from 'vitest'
import { BaseError, type Log, retryAtStart, seededRandom, silentLog } from '../../src/base/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const away = (): BaseError => new BaseError('TEST_AWAY', 'away', {}, { retryable: true })

function setup(signal: AbortSignal = new AbortController().signal) {
  const clock = new FakeClock()
  const said: unknown[] = []
  const log: Log = { ...silentLog, warn: (_, fields) => said.push(fields?.['what']) }
  return { clock, said, options: { what: 'etcd', clock, random: seededRandom(1), log, signal } }
}

test('repeats what is away until it is there, and says so once', async () => {
  const { clock, said, options } = setup()
  let attempts = 0
  const work = retryAtStart(options, () =>
    ++attempts < 4 ? Promise.reject(away()) : Promise.resolve('there'),
  )
  await clock.advance(10_000)
  expect(await work).toBe('there')
  expect([attempts, said]).toEqual([4, ['etcd']])
})

test('gives up with the last failure after 30 s, at once with one that no waiting heals', async () => {
  const { clock, options } = setup()
  let attempts = 0
  const begin = clock.monotonic()
  const work = retryAtStart(options, () => {
    attempts++
    return Promise.reject(away())
  }).catch((error: unknown) => [error, clock.monotonic() - begin])
  await clock.advance(60_000)
  const [error, afterMs] = (await work) as [BaseError, number]
  expect(error.code).toBe('TEST_AWAY')
  expect(afterMs).toBeGreaterThan(25_000)
  expect(afterMs).toBeLessThanOrEqual(30_000)
  expect(attempts).toBeGreaterThan(10)
  const wrong = new BaseError('TEST_WRONG', 'wrong')
  await expect(retryAtStart(options, () => Promise.reject(wrong))).rejects.toBe(wrong)
  const final = { ...options, isFinal: () => true }
  await expect(retryAtStart(final, () => Promise.reject(away()))).rejects.toThrow('away')
})

test('ends with the start-up', async () => {
  const stopping = new AbortController()
  const { options } = setup(stopping.signal)
  const work = retryAtStart(options, () => Promise.reject(away()))
  stopping.abort(new Error('stopped'))
  await expect(work).rejects.toThrow('stopped')
})
