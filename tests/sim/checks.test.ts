import { afterEach, describe, expect, test } from 'vitest'
import { startSim } from '../../sim/index.ts'
import type { Sim, SimOptions } from '../../sim/index.ts'
import { ALL_INTENTS, INTENTS } from '../../src/discord/index.ts'
import { encodeTerm } from '../../src/etf/index.ts'
import { connect, connectReady, RawClient } from './raw-client.ts'

let sim: Sim | undefined
async function start(options: Partial<SimOptions> = {}): Promise<Sim> {
  sim = await startSim({ guilds: 3, membersMax: 60, ...options })
  return sim
}
afterEach(() => sim?.stop())

describe('IDENTIFY is answered with', () => {
  const cases: [string, number, Record<string, unknown>, Partial<SimOptions>][] = [
    ['4004 for another token', 4004, { token: 'MTIz.a.b' }, {}],
    ['4010 for a shard id that is not below the count', 4010, { shard: [2, 2] }, {}],
    ['4010 for a shard that is no pair', 4010, { shard: [0] }, {}],
    [
      '4010 for a count that is no multiple of the large bot',
      4010,
      { shard: [0, 20] },
      { shardMultiple: 16 },
    ],
    [
      '4011 for more guilds than a shard may hold',
      4011,
      { shard: [0, 1] },
      { guildsPerShardMax: 2 },
    ],
    ['4013 for an unknown intent', 4013, { intents: 1 << 17 }, {}],
    ['4013 without intents', 4013, { intents: undefined }, {}],
    [
      '4014 for a privileged intent that is not enabled',
      4014,
      {},
      { intents: ALL_INTENTS & ~INTENTS.GUILD_PRESENCES },
    ],
    [
      '4002 for a compress that is no boolean, by a strict server',
      4002,
      { compress: 'yes' },
      { liberties: ['strict-identify'] },
    ],
    ['4002 for a large_threshold of 300', 4002, { large_threshold: 300 }, {}],
    ['4002 without properties', 4002, { properties: null }, {}],
  ]
  test.each(cases)('%s', async (_name, code, more, options) => {
    const sim = await start(options)
    const client = await connect(sim)
    client.identify(sim, more)
    expect((await client.waitClosed()).code).toBe(code)
    expect(sim.ledger.identifies.at(-1)?.outcome).toBe(String(code))
    expect(sim.stats().identifiesLeft).toBe(1000)
  })

  test('op 9 false within 5 s in the same bucket', async () => {
    const sim = await start({ maxConcurrency: 2 })
    await connectReady(sim, { identify: { shard: [0, 4] } })
    await connectReady(sim, { identify: { shard: [1, 4] } })
    const third = await connect(sim)
    third.identify(sim, { shard: [2, 4] })
    expect(await third.waitOp(9)).toMatchObject({ d: false })
    expect(sim.ledger.identifies.map((identify) => identify.outcome)).toEqual([
      'ready',
      'ready',
      'concurrency',
    ])
  })

  test('op 9 false when the budget is used up, and /gateway/bot has counted', async () => {
    const sim = await start({ identifyLimit: 1, identifyWindowMs: 0 })
    await connectReady(sim)
    const second = await connect(sim)
    second.identify(sim)
    expect(await second.waitOp(9)).toMatchObject({ d: false })
    const answer = await fetch(`${sim.apiUrl}/gateway/bot`, {
      headers: { authorization: `Bot ${sim.token}` },
    })
    expect(await answer.json()).toMatchObject({
      session_start_limit: { remaining: 0, total: 1000 },
    })
  })

  test('the end of all sessions and of the token, if that is the answer to an empty budget', async () => {
    const sim = await start({ identifyLimit: 1, identifyWindowMs: 0, budgetAnswer: 'reset-token' })
    const first = await connectReady(sim)
    const second = await connect(sim)
    second.identify(sim)
    expect((await second.waitClosed()).code).toBe(4004)
    expect((await first.waitClosed()).code).toBe(4004)
    const answer = await fetch(`${sim.apiUrl}/gateway/bot`, {
      headers: { authorization: `Bot ${sim.token}` },
    })
    expect(answer.status).toBe(401)
  })
})

describe('a connection is closed with', () => {
  test.each([
    ['4012 for v=9', 'v=9&encoding=json', 4012],
    ['4012 without v', 'encoding=json', 4012],
    ['4002 for an unknown encoding', 'v=10&encoding=xml', 4002],
    ['4002 for an unknown compression', 'v=10&encoding=json&compress=gzip', 4002],
  ])('%s', async (_name, query, code) => {
    const client = new RawClient(await start(), { query })
    expect((await client.waitClosed()).code).toBe(code)
    expect(client.payloads).toEqual([])
  })

  test.each([
    ['4002 for what is not JSON', Buffer.from('{"op":'), 4002],
    ['4002 for what is not a map', Buffer.from('[1]'), 4002],
    [
      '4002 for more than 4,096 bytes',
      Buffer.from(JSON.stringify({ op: 1, d: 'x'.repeat(4096) })),
      4002,
    ],
    ['4001 for an unknown op', Buffer.from('{"op":99,"d":null}'), 4001],
    ['4001 for an op that only a server sends', Buffer.from('{"op":10,"d":null}'), 4001],
    ['4003 for op 8 before IDENTIFY', Buffer.from('{"op":8,"d":{}}'), 4003],
  ])('%s', async (_name, bytes, code) => {
    const client = await connect(await start())
    client.sendBytes(bytes)
    expect((await client.waitClosed()).code).toBe(code)
  })

  test.each([
    ['an atom as key', encodeTerm({ op: 1, d: null }, { keys: 'atom' })],
    [
      'an atom of tag 119',
      Buffer.from([131, 116, 0, 0, 0, 1, 109, 0, 0, 0, 1, 100, 119, 3, 110, 105, 108]),
    ],
    ['bytes behind the term', Buffer.concat([encodeTerm({ op: 1, d: null }), Buffer.from([0])])],
    ['a truncated term', encodeTerm({ op: 1, d: 'abc' }).subarray(0, 12)],
    ['a missing version byte', encodeTerm({ op: 1, d: null }).subarray(1)],
    ['a list of 2^32-1', Buffer.from([131, 108, 255, 255, 255, 255, 97, 1, 106])],
    [
      'deep nesting',
      Buffer.concat([
        Buffer.from([131]),
        ...Array.from({ length: 100 }, () => Buffer.from([108, 0, 0, 0, 1])),
      ]),
    ],
  ])('4002 for ETF with %s', async (_name, bytes) => {
    const client = await connect(await start(), { encoding: 'etf' })
    client.sendBytes(bytes)
    expect((await client.waitClosed()).code).toBe(4002)
  })

  test('4005 for a second IDENTIFY', async () => {
    const sim = await start()
    const client = await connectReady(sim)
    client.identify(sim)
    expect((await client.waitClosed()).code).toBe(4005)
  })

  test('4005 for a RESUME of a session that is already read', async () => {
    const sim = await start()
    const client = await connectReady(sim)
    client.resume(sim, client.sessionId, 1)
    expect((await client.waitClosed()).code).toBe(4005)
  })

  test('4008 for 121 sends in 60 s', async () => {
    const sim = await start()
    const client = await connectReady(sim)
    for (let count = 0; count < 119; count++) client.send(1, null)
    await client.waitOp(11, 119)
    expect(client.closed).toBeNull()
    client.send(1, null)
    expect((await client.waitClosed()).code).toBe(4008)
  })

  test('4001 for op 3, 4, 8, 31 and 43 with a payload that is wrong for them', async () => {
    const sim = await start({ identifyWindowMs: 0 })
    const wrong: [number, unknown][] = [
      [3, { status: 'online', afk: false, activities: [] }],
      [4, { guild_id: 'x', channel_id: null, self_mute: false, self_deaf: false }],
      [8, { guild_id: '1', user_ids: ['not a number'] }],
      [8, { guild_id: '1' }],
      [31, { guild_ids: ['x'] }],
      [43, { guild_id: '1', fields: ['topic'] }],
    ]
    for (const [op, d] of wrong) {
      const client = await connectReady(sim)
      client.send(op, d)
      expect((await client.waitClosed()).code).toBe(4001)
    }
  })
})

describe('REST', () => {
  test('/gateway needs no token, /gateway/bot answers 401 to another', async () => {
    const sim = await start({ shards: 7, maxConcurrency: 3 })
    expect(await (await fetch(`${sim.apiUrl}/gateway`)).json()).toEqual({ url: sim.gatewayUrl })
    for (const authorization of ['', 'Bot nope', sim.token]) {
      const refused = await fetch(`${sim.apiUrl}/gateway/bot`, { headers: { authorization } })
      expect(refused.status).toBe(401)
    }
    const answer = await fetch(`${sim.apiUrl}/gateway/bot`, {
      headers: { authorization: `Bot ${sim.token}` },
    })
    expect(await answer.json()).toMatchObject({
      url: sim.gatewayUrl,
      shards: 7,
      session_start_limit: { total: 1000, remaining: 1000, max_concurrency: 3 },
    })
    expect((await fetch(`${sim.apiUrl}/users/@me`)).status).toBe(404)
  })

  test('and READY name the host by which they were asked', async () => {
    const sim = await start({ host: '0.0.0.0' })
    const { port } = new URL(sim.url)
    const answer = await fetch(`http://localhost:${port}/api/v10/gateway`)
    expect(await answer.json()).toEqual({ url: `ws://localhost:${port}` })
    const client = await connectReady(sim)
    expect(client.of('READY')[0]!.d).toMatchObject({ resume_gateway_url: `ws://0.0.0.0:${port}` })
  })

  test('a token names the bot', async () => {
    const sim = await start({
      token: `${Buffer.from('81384788765712384').toString('base64url')}.x.y`,
    })
    const client = await connectReady(sim)
    expect(client.of('READY')[0]!.d).toMatchObject({ user: { id: '81384788765712384' } })
  })
})
