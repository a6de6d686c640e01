import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import {
  backoffMs,
  BaseError,
  memoryCounters,
  messageOf,
  nearest,
  redactUrl,
  Secret,
  seededRandom,
  sleep,
} from '../../src/base/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

describe('backoff', () => {
  test('waits at least half of a doubling ceiling, and never more than the ceiling', () => {
    const options = { baseMs: 1000, maxMs: 60_000 }
    for (const [attempt, ceiling] of [
      [0, 1000],
      [1, 2000],
      [5, 32_000],
      [6, 60_000],
      [1000, 60_000],
    ] as const) {
      expect(backoffMs(attempt, () => 0, options)).toBe(ceiling / 2)
      expect(backoffMs(attempt, () => 0.999999, options)).toBe(ceiling)
    }
  })
})

describe('random', () => {
  test('a seed replays its numbers, another seed gives others', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed)
      return Array.from({ length: 5 }, () => random())
    }
    expect(draw(1)).toEqual(draw(1))
    expect(draw(1)).not.toEqual(draw(2))
    for (const value of draw(3)) expect(value >= 0 && value < 1).toBe(true)
  })
})

describe('secret', () => {
  test('does not show itself in strings, JSON or inspect', () => {
    const secret = new Secret('hunter2')
    const shown = `${String(secret)} ${JSON.stringify({ secret })} ${inspect({ secret })}`
    expect(shown).not.toContain('hunter2')
    expect(secret.reveal()).toBe('hunter2')
  })

  test('a URL is logged without its password', () => {
    expect(redactUrl('postgres://bob:hunter2@host:5432/db')).toBe('postgres://bob:***@host:5432/db')
    expect(redactUrl('bob:hunter2@host')).not.toContain('hunter2')
    expect(redactUrl('rediss://host/?password=hunter2')).not.toContain('hunter2')
    expect(redactUrl('localhost:6379')).toBe('localhost:6379')
  })
})

describe('nearest', () => {
  test('finds the slip of a finger and refuses what is far', () => {
    expect(nearest('tokn', ['token', 'redis'])).toBe('token')
    expect(nearest('MESAGE_CREATE', ['MESSAGE_CREATE', 'GUILD_CREATE'])).toBe('MESSAGE_CREATE')
    expect(nearest('zzzzzz', ['token', 'redis'])).toBeNull()
  })
})

describe('errors', () => {
  test('the message begins with the code, and the cause is kept', () => {
    const cause = new Error('ECONNREFUSED')
    const error = new BaseError(
      'X_DOWN',
      'x does not answer.',
      { port: 1 },
      { cause, retryable: true },
    )
    expect(error.message).toBe('[X_DOWN] x does not answer.')
    expect(error.cause).toBe(cause)
    expect(error.retryable).toBe(true)
    expect(messageOf(new AggregateError([new Error('a'), new Error('b')]))).toBe('a; b')
    expect(messageOf('text')).toBe('text')
  })
})

describe('clock', () => {
  test('sleep ends with its time or with the abort, and leaves no timer', async () => {
    const clock = new FakeClock()
    const done = sleep(clock, 1000)
    await clock.advance(1000)
    await done
    const controller = new AbortController()
    const aborted = sleep(clock, 1000, controller.signal)
    controller.abort(new Error('stop'))
    await expect(aborted).rejects.toThrow('stop')
    expect(clock.timerCount).toBe(0)
  })
})

describe('counters', () => {
  test('one name and set of labels is one counter', () => {
    const counters = memoryCounters()
    counters.counter('a_total', { x: '1', y: '2' }).value++
    counters.counter('a_total', { y: '2', x: '1' }).value++
    counters.gauge('b', () => 7)
    expect(counters.read('a_total', { x: '1', y: '2' })).toBe(2)
    expect(counters.read('a_total')).toBe(0)
    expect(counters.read('b')).toBe(7)
  })
})
