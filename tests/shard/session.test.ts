import { expect, test } from 'vitest'
import type { StoredSession } from '../../src/shard/index.ts'
import { connectionUrl, identifyReason, usableResumeUrl } from '../../src/shard/session.ts'
import { isPlausibleTerm } from '../../src/shard/term-head.ts'
import { encodeTerm } from '../../src/etf/index.ts'

const query = { v: 10, encoding: 'etf', compress: 'zlib-stream' } as const
const stored: StoredSession = {
  sessionId: 'abc',
  resumeGatewayUrl: 'wss://resume.example',
  sequence: 0,
  shardCount: 4,
  intents: 513,
  query,
}

test.each([
  ['wss://gateway.discord.gg', 'wss://gateway.discord.gg/?v=10&encoding=etf&compress=zlib-stream'],
  ['wss://g.example/?a=b', 'wss://g.example/?a=b&v=10&encoding=etf&compress=zlib-stream'],
  ['wss://g.example/path?v=9', 'wss://g.example/path?v=10&encoding=etf&compress=zlib-stream'],
])('the query goes onto %s', (base, url) => {
  expect(connectionUrl(base, query)).toBe(url)
})

test('compress=none is said by silence', () => {
  expect(connectionUrl('wss://g', { ...query, compress: 'none' })).toBe(
    'wss://g/?v=10&encoding=etf',
  )
})

test('a session is resumed only with the count and the intents it was made with; sequence 0 is one', () => {
  expect(identifyReason(null, { shardCount: 4, intents: 513 })).toBe('first')
  expect(identifyReason(stored, { shardCount: 4, intents: 513 })).toBeNull()
  expect(identifyReason(stored, { shardCount: 5, intents: 513 })).toBe('shard_count')
  expect(identifyReason(stored, { shardCount: 4, intents: 1 })).toBe('intents')
})

test('the token of a RESUME never goes out in the clear when the gateway is encrypted', () => {
  expect(usableResumeUrl('wss://r', 'wss://g')).toBe('wss://r')
  expect(usableResumeUrl('ws://r', 'wss://g')).toBe('')
  expect(usableResumeUrl('ws://r', 'ws://g')).toBe('ws://r')
  expect(usableResumeUrl('https://r', 'wss://g')).toBe('')
  expect(usableResumeUrl('no url', 'wss://g')).toBe('')
  expect(usableResumeUrl(null, 'wss://g')).toBe('')
})

test('isPlausibleTerm agrees with every encoded value, and with no cut or longer one', () => {
  const values = [
    0,
    255,
    70_000,
    -1,
    1.5,
    2n ** 63n,
    2n ** 2100n,
    '',
    'text',
    null,
    true,
    [],
    [1, 'a'],
    {},
  ]
  for (const value of [...values, { a: 1, b: { c: [1, 2, 3] } }]) {
    for (const atoms of [100, 115, 119] as const) {
      const bytes = encodeTerm(value, { atoms })
      expect(isPlausibleTerm(bytes, 1, bytes.length)).toBe(true)
    }
  }
  for (const value of ['text', null, 70_000, 1.5, 2n ** 63n]) {
    const bytes = encodeTerm(value)
    const longer = Buffer.concat([bytes, Buffer.from([1])])
    expect(isPlausibleTerm(longer, 1, longer.length)).toBe(false)
    for (let end = 1; end < bytes.length; end++) expect(isPlausibleTerm(bytes, 1, end)).toBe(false)
  }
})
