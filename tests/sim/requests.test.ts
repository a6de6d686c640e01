import { afterEach, describe, expect, test } from 'vitest'
import { startSim } from '../../sim/index.ts'
import type { Sim } from '../../sim/index.ts'
import { ALL_INTENTS, INTENTS } from '../../src/discord/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'
import { connectReady } from './raw-client.ts'
import type { RawClient } from './raw-client.ts'

let sim: Sim
let clock: FakeClock
afterEach(() => sim.stop())

interface Guild {
  readonly id: string
  readonly member_count: number
  readonly channels: { id: string; type: number }[]
  readonly members: { user: { id: string; username: string } }[]
}
interface Chunk {
  readonly members: { user: { id: string; username: string } }[]
  readonly presences?: unknown[]
  readonly not_found?: string[]
  readonly nonce?: string
  readonly chunk_index: number
  readonly chunk_count: number
}

/** The guild with the most members, and a client that knows it. */
async function ready(intents = ALL_INTENTS): Promise<{ client: RawClient; guild: Guild }> {
  clock = new FakeClock()
  sim = await startSim({ guilds: 3, identifyWindowMs: 0, helloMs: 0 }, { clock })
  const client = await connectReady(sim, { identify: { intents } })
  await client.waitFor('GUILD_CREATE', 3)
  const guilds = client.of('GUILD_CREATE').map((payload) => payload.d as Guild)
  return { client, guild: guilds.sort((a, b) => b.member_count - a.member_count)[0]! }
}

function chunksOf(client: RawClient): Chunk[] {
  return client.of('GUILD_MEMBERS_CHUNK').map((payload) => payload.d as Chunk)
}

describe('op 8', () => {
  test('for all members comes in chunks of 1,000, with nonce and presences', async () => {
    const { client, guild } = await ready()
    expect(guild.member_count).toBeGreaterThan(1000)
    client.send(8, { guild_id: guild.id, query: '', limit: 0, presences: true, nonce: 'n1' })
    await client.waitFor('GUILD_MEMBERS_CHUNK', 2)
    const chunks = chunksOf(client)
    expect(chunks.map((chunk) => chunk.members.length)).toEqual([1000, guild.member_count - 1000])
    expect(chunks.map((chunk) => [chunk.chunk_index, chunk.chunk_count, chunk.nonce])).toEqual([
      [0, 2, 'n1'],
      [1, 2, 'n1'],
    ])
    expect(chunks[0]!.presences!.length).toBeGreaterThan(0)
  })

  test('for all members twice in 30 s is answered with RATE_LIMITED, by any session', async () => {
    const { client, guild } = await ready()
    const request = { guild_id: guild.id, query: '', limit: 0 }
    client.send(8, request)
    await client.waitFor('GUILD_MEMBERS_CHUNK', 2)
    await clock.advance(10_000)
    const other = await connectReady(sim)
    other.send(8, { ...request, nonce: 'mine' })
    const limited = await other.waitFor('RATE_LIMITED')
    expect(limited).toMatchObject({
      op: 0,
      d: { opcode: 8, retry_after: 20, meta: { guild_id: guild.id, nonce: 'mine' } },
    })
    await clock.advance(20_000)
    other.send(8, request)
    await other.waitFor('GUILD_MEMBERS_CHUNK', 2)
  })

  test('for user ids says who was not found, and ignores a nonce of 33 bytes', async () => {
    const { client, guild } = await ready()
    const known = guild.members[0]!.user.id
    client.send(8, {
      guild_id: guild.id,
      user_ids: [known, '123456789012345678'],
      nonce: 'x'.repeat(33),
    })
    await client.waitFor('GUILD_MEMBERS_CHUNK')
    const [chunk] = chunksOf(client)
    expect(chunk!.members.map((member) => member.user.id)).toEqual([known])
    expect(chunk!.not_found).toEqual(['123456789012345678'])
    expect(chunk).not.toHaveProperty('nonce')
  })

  test('for a prefix finds names that begin with it, at most 100', async () => {
    const { client, guild } = await ready()
    const letter = guild.members[0]!.user.username[0]!
    client.send(8, { guild_id: guild.id, query: letter, limit: 500 })
    await client.waitFor('GUILD_MEMBERS_CHUNK')
    const { length } = chunksOf(client)[0]!.members
    expect(length).toBeGreaterThan(0)
    expect(length).toBeLessThanOrEqual(100)
  })

  test('without GUILD_PRESENCES gives no presences', async () => {
    const { client, guild } = await ready(ALL_INTENTS & ~INTENTS.GUILD_PRESENCES)
    client.send(8, { guild_id: guild.id, user_ids: guild.members[0]!.user.id, presences: true })
    await client.waitFor('GUILD_MEMBERS_CHUNK')
    expect(chunksOf(client)[0]).not.toHaveProperty('presences')
  })
})

test("op 3 changes the bot's presence in its guilds", async () => {
  const { client } = await ready()
  client.send(3, {
    since: null,
    activities: [{ name: 'chess', type: 0 }],
    status: 'dnd',
    afk: false,
  })
  const event = await client.waitFor('PRESENCE_UPDATE')
  expect(event.d).toMatchObject({
    status: 'dnd',
    user: { id: (sim.world.botUser['id'] as bigint).toString() },
  })
})

test('op 4 joins and leaves voice', async () => {
  const { client, guild } = await ready()
  const channel = guild.channels.find((entry) => entry.type === 2)!
  client.send(4, { guild_id: guild.id, channel_id: channel.id, self_mute: true, self_deaf: false })
  expect((await client.waitFor('VOICE_STATE_UPDATE')).d).toMatchObject({
    channel_id: channel.id,
    self_mute: true,
  })
  expect((await client.waitFor('VOICE_SERVER_UPDATE')).d).toMatchObject({ guild_id: guild.id })
  client.send(4, { guild_id: guild.id, channel_id: null, self_mute: false, self_deaf: false })
  expect((await client.waitFor('VOICE_STATE_UPDATE', 2)).d).toMatchObject({ channel_id: null })
})

test('op 31 is answered for each guild of the session, op 43 with the fields asked for', async () => {
  const { client, guild } = await ready()
  client.send(31, { guild_ids: [guild.id, '123456789012345678'] })
  expect((await client.waitFor('SOUNDBOARD_SOUNDS')).d).toMatchObject({ guild_id: guild.id })
  client.send(43, { guild_id: guild.id, fields: ['status'] })
  const info = (await client.waitFor('CHANNEL_INFO')).d as { channels: Record<string, unknown>[] }
  expect(info).toMatchObject({ guild_id: guild.id })
  expect(info.channels.every((channel) => !('voice_start_time' in channel))).toBe(true)
  expect(client.of('SOUNDBOARD_SOUNDS')).toHaveLength(1)
})

test('an event comes to the sessions of its shard that have its intent, encoded alike', async () => {
  clock = new FakeClock()
  sim = await startSim({ guilds: 12, identifyWindowMs: 0, helloMs: 0 }, { clock })
  const all = await connectReady(sim, { identify: { shard: [0, 2] } })
  const other = await connectReady(sim, { identify: { shard: [1, 2] } })
  const few = await connectReady(sim, { identify: { shard: [0, 1], intents: INTENTS.GUILDS } })
  sim.step(400)
  const sessions = [all, other, few]
  await until(() =>
    sessions.every(
      (client) =>
        sim.sessions.find((session) => session.id === client.sessionId)!.sequence ===
        client.sequence,
    ),
  )
  expect(all.of('PRESENCE_UPDATE').length).toBeGreaterThan(0)
  expect(other.of('PRESENCE_UPDATE').length).toBeGreaterThan(0)
  expect(few.of('PRESENCE_UPDATE')).toEqual([])
  expect(few.of('MESSAGE_CREATE')).toEqual([])
  const channelEvents = (client: RawClient): unknown[] =>
    client.payloads
      .filter((payload) => payload.t === 'GUILD_ROLE_UPDATE')
      .map((payload) => JSON.stringify(payload.d))
  expect(channelEvents(few)).toHaveLength(channelEvents(all).length + channelEvents(other).length)
  const direct = [...sim.ledger.events({ session: all.sessionId })].filter(
    (event) => event.guildId === null,
  )
  expect(direct.length).toBeGreaterThan(0)
  const elsewhere = [...sim.ledger.events({ session: other.sessionId })].filter(
    (event) => event.guildId === null,
  )
  expect(elsewhere.map((event) => event.t)).toEqual(['READY'])
})
