/** gateway.v1.Commands of two workers, against the simulator. */
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { INTENTS } from '../../src/discord/index.ts'
import { until } from '../support/until.ts'
import { Backend, type CommandsWorld, SHARDS, startCommandsWorld } from './commands-world.ts'

let world: CommandsWorld
let backend: Backend

beforeAll(async () => {
  world = await startCommandsWorld()
  backend = new Backend(world.workers[0]!.peer.address)
}, 30_000)

afterAll(async () => {
  backend.close()
  await world.stop()
})

/** What the simulator has got of an op, by shard. */
function got(op: number): number[] {
  const { commands } = world.sim.gateway.commands
  return Array.from(
    { length: SHARDS },
    (_, shard) => commands.filter((one) => one.op === op && one.shard === shard).length,
  )
}

describe('commands reach the shard of their guild, whichever worker takes them', () => {
  test('UpdatePresence: all shards, some, and those of a guild', async () => {
    const presence = { status: 'dnd', activities: [{ name: 'chess', type: 0, state: 'e4' }] }
    const done = (shard: number): object => ({ shard, outcome: 'DONE' })
    expect(await backend.call('UpdatePresence', { presence })).toMatchObject({
      answers: [done(0), done(1)],
    })
    expect(await backend.call('UpdatePresence', { presence, shards: [1] })).toMatchObject({
      answers: [done(1)],
    })
    const guild_ids = [world.guild(1).toString()]
    expect(await backend.call('UpdatePresence', { presence, guild_ids })).toMatchObject({
      answers: [done(1)],
    })
    await until(() => got(3)[1] === 3)
    expect(got(3)).toEqual([1, 3])
    // Three have gone out; of five more the last waits and replaces those before it.
    const answers = []
    for (let count = 0; count < 5; count++) {
      answers.push(await backend.call('UpdatePresence', { presence, shards: [1] }))
    }
    const last = answers.at(-1)!['answers'] as {
      outcome: string
      position: number
      wait_ms: string
    }[]
    expect(last[0]).toMatchObject({ shard: 1, outcome: 'QUEUED', position: 1 })
    expect(Number(last[0]!.wait_ms)).toBeGreaterThan(15_000)
    expect(got(3)[1]).toBe(5)
  })

  test('a call that waits takes back what it waited for when its deadline passes', async () => {
    const call = backend.call('UpdatePresence', { shards: [1], wait: true }, 300)
    await expect(call).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED })
    expect(got(3)[1]).toBe(5)
  })

  test('UpdateVoiceState: by guild, and by a channel that the cache knows', async () => {
    const guildId = world.guild(1)
    const channelId = world.channel(guildId)
    expect(
      await backend.call('UpdateVoiceState', { channel_id: channelId.toString(), self_deaf: true }),
    ).toMatchObject({ shard: 1, outcome: 'DONE' })
    await until(() => world.world.sink.names.includes('VOICE_SERVER_UPDATE'))
    expect(await backend.call('UpdateVoiceState', { guild_id: guildId.toString() })).toMatchObject({
      outcome: 'DONE',
    })
    expect(await backend.call('UpdateVoiceState', { channel_id: '77' })).toMatchObject({
      shard: -1,
      outcome: 'REFUSED',
      code: 'SERVER_CHANNEL_UNKNOWN',
    })
    expect(got(4)).toEqual([0, 2])
  })

  test('RequestGuildMembers: chunks, who was not found, and Discord’s limit with its time', async () => {
    const guild_id = world.guild(1).toString()
    const all = await backend.stream('RequestGuildMembers', { guild_id, nonce: 'bot-1' })
    expect(all[0]).toMatchObject({ shard: 1, outcome: 'SENT', nonce: 'bot-1' })
    expect(all.at(-1)).toMatchObject({ outcome: 'DONE', nonce: 'bot-1' })
    expect(Number(all.at(-1)!['members'])).toBeGreaterThan(10)
    const some = await backend.stream('RequestGuildMembers', { guild_id, user_ids: ['123123'] })
    expect(some.at(-1)).toMatchObject({ outcome: 'DONE', not_found: ['123123'], chunks: 1 })
    world.sim.fault({ kind: 'rate-limit-members', shard: 1, delayMs: 400 })
    const limited = await backend.stream('RequestGuildMembers', { guild_id, query: 'a', limit: 5 })
    expect(limited.map((answer) => answer['outcome'])).toEqual(['SENT', 'QUEUED', 'SENT', 'DONE'])
    expect(Number(limited[1]!['rate_limited_until'])).toBeGreaterThan(0)
  })

  test('RequestSoundboardSounds and RequestChannelInfo bring their events', async () => {
    const guild_ids = [world.guild(0).toString(), world.guild(1).toString()]
    expect(await backend.call('RequestSoundboardSounds', { guild_ids })).toMatchObject({
      answers: [
        { shard: 0, outcome: 'DONE' },
        { shard: 1, outcome: 'DONE' },
      ],
    })
    const request = { guild_id: world.guild(1).toString(), fields: ['status'] }
    expect(await backend.call('RequestChannelInfo', request)).toMatchObject({ outcome: 'DONE' })
    const { sink } = world.world
    await until(() => sink.names.filter((name) => name === 'SOUNDBOARD_SOUNDS').length === 2)
    await until(() => sink.names.includes('CHANNEL_INFO'))
  })

  test('GetVoiceConnections: what is kept of a guild, or of all', async () => {
    const kept = {
      guild_id: '7',
      shard: 0,
      channel_id: '9',
      user_id: '8',
      session_id: 'v',
      token: 't0k3n',
      endpoint: '',
      updated_at: '1234',
    }
    const [found, ...others] = await backend.stream('GetVoiceConnections', {})
    expect(others).toEqual([])
    expect(found).toMatchObject(kept)
    expect(String(found!['voice_server_update'])).toBe('{"token":"t0k3n","endpoint":null}')
    expect(await backend.stream('GetVoiceConnections', { guild_ids: ['7'] })).toHaveLength(1)
    expect(await backend.stream('GetVoiceConnections', { guild_ids: ['6'] })).toEqual([])
  })

  test('no limit was broken in the simulator’s own accounting', () => {
    expect(world.sim.gateway.commands.broken()).toEqual([])
  })
})

describe('refusals', () => {
  test.each([
    ['UpdatePresence', { presence: { status: 'busy' } }, 'status'],
    ['UpdatePresence', { presence: { activities: [{ type: 0 }] } }, 'name of an activity'],
    ['UpdatePresence', { shards: [2] }, 'shards'],
    ['UpdateVoiceState', {}, 'guild_id'],
    ['RequestSoundboardSounds', {}, 'guild_ids'],
    ['RequestChannelInfo', { guild_id: '5', fields: ['topic'] }, 'fields'],
  ])('%s %o names the field', async (method, request, field) => {
    const call = backend.call(method, request)
    await expect(call).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(field) as string,
    })
  })

  test.each([
    [{ user_ids: Array.from({ length: 101 }, (_, index) => String(index + 1)) }, 'user_ids'],
    [{ user_ids: ['5'], query: 'a' }, 'user_ids'],
    [{ nonce: 'x'.repeat(33) }, 'nonce'],
    [{ nonce: 'gateway:fill:1' }, 'nonce'],
    [{ query: 'a', limit: 101 }, 'limit'],
  ])('RequestGuildMembers %o names the field', async (request, field) => {
    const call = backend.stream('RequestGuildMembers', { guild_id: '5', ...request })
    await expect(call).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(field) as string,
    })
  })

  test('without the token, or with another one, nothing is sent', async () => {
    for (const token of [null, 'wrong']) {
      const other = new Backend(world.workers[1]!.peer.address, token)
      const before = got(4)
      const guild_id = world.guild(1).toString()
      await expect(other.call('UpdateVoiceState', { guild_id })).rejects.toMatchObject({
        code: status.UNAUTHENTICATED,
      })
      for (const method of ['RequestGuildMembers', 'GetVoiceConnections']) {
        await expect(other.stream(method, {})).rejects.toMatchObject({
          code: status.UNAUTHENTICATED,
        })
      }
      expect(got(4)).toEqual(before)
      other.close()
    }
  })

  test('a whole list without its intent, and a worker that is gone, say so', async () => {
    const other = await startCommandsWorld({ intents: INTENTS.GUILDS, backendToken: null })
    const client = new Backend(other.workers[0]!.peer.address)
    try {
      const guild_id = other.guild(1).toString()
      expect(await client.stream('RequestGuildMembers', { guild_id })).toMatchObject([
        { outcome: 'REFUSED', code: 'SERVER_INTENT_MISSING' },
      ])
      await expect(client.stream('GetVoiceConnections', {})).rejects.toMatchObject({
        code: status.PERMISSION_DENIED,
        details: expect.stringContaining('-backend-token') as string,
      })
      await other.workers[1]!.close()
      expect(await client.call('UpdateVoiceState', { guild_id })).toMatchObject({
        shard: 1,
        outcome: 'REFUSED',
        code: 'SERVER_WORKER_UNREACHABLE',
        wait_ms: '5000',
      })
      await other.world.managers[0]!.stop()
      const own = { guild_id: other.guild(0).toString() }
      expect(await client.call('UpdateVoiceState', own)).toMatchObject({
        outcome: 'REFUSED',
        code: 'SHARD_NOT_READY',
      })
    } finally {
      client.close()
      await other.stop()
    }
  })
})
