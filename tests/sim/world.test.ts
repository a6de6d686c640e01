import { describe, expect, test } from 'vitest'
import { ALL_INTENTS, EVENT_NAMES, INTENTS, snowflakeTimeMs } from '../../src/discord/index.ts'
import { MUTATION_KINDS, World } from '../../sim/world/index.ts'
import type { ClientView, JsonLike, JsonObject, WorldEvent } from '../../sim/world/index.ts'

const BOT = 1_100_000_000_000_000_001n
const ALL: ClientView = { intents: ALL_INTENTS, largeThreshold: 250, botUserId: BOT }

function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === 'bigint' ? `${entry}n` : entry,
  )
}

function smallWorld(seed: number, options: { guilds?: number; membersMax?: number } = {}): World {
  return new World({ seed, guilds: 12, membersMax: 300, ...options })
}

function objects(value: JsonLike | undefined): readonly JsonObject[] {
  return value as readonly JsonObject[]
}

describe('World', () => {
  test('is the same for the same seed and the same number of steps', () => {
    const run = (seed: number): string => {
      const world = smallWorld(seed)
      const events: WorldEvent[] = []
      for (let i = 0; i < 2000; i++) events.push(...world.step())
      return textOf(events) + textOf(world.snapshot())
    }
    expect(run(7)).toBe(run(7))
    expect(run(7)).not.toBe(run(8))
  })

  test('dates every snowflake after 2016 and not after its own time', () => {
    const world = smallWorld(3)
    const seen: bigint[] = []
    const collect = (value: JsonLike): void => {
      if (typeof value === 'bigint') seen.push(value)
      else if (Array.isArray(value)) for (const entry of value as JsonLike[]) collect(entry)
      else if (typeof value === 'object' && value !== null) {
        for (const entry of Object.values(value)) collect(entry as JsonLike)
      }
    }
    for (let i = 0; i < 500; i++) for (const event of world.step()) collect(event.d)
    collect(world.snapshot())
    const dates = seen.filter((id) => id !== BOT).map(snowflakeTimeMs)
    expect(dates.length).toBeGreaterThan(1000)
    expect(Math.min(...dates)).toBeGreaterThan(Date.UTC(2016, 0, 1))
    expect(Math.max(...dates)).toBeLessThanOrEqual(world.nowMs)
  })

  test('can be made to change in every kind', () => {
    const world = smallWorld(5)
    for (const kind of MUTATION_KINDS) expect(world.mutate(kind), kind).not.toHaveLength(0)
  })

  test('tells every event of the table but the answers to requests and the session’s own', () => {
    const world = smallWorld(5)
    const told = new Set(MUTATION_KINDS.flatMap((kind) => world.mutate(kind)).map(({ t }) => t))
    const answers = ['READY', 'RESUMED', 'RATE_LIMITED', 'GUILD_MEMBERS_CHUNK', 'SOUNDBOARD_SOUNDS']
    const others = [...answers, 'CHANNEL_INFO', 'VOICE_SERVER_UPDATE']
    expect(EVENT_NAMES.filter((name) => !told.has(name) && !others.includes(name))).toEqual([])
  })

  test('keeps its mix: presences first, then messages, all of the sizes that Discord’s have', () => {
    const world = new World({ seed: 1, guilds: 50 })
    const sizes = new Map<string, number[]>()
    for (let i = 0; i < 6000; i++) {
      for (const { t, d } of world.step()) {
        sizes.set(t, [...(sizes.get(t) ?? []).slice(-300), textOf(d).length])
      }
    }
    const mean = (t: string): number => {
      const list = sizes.get(t) ?? []
      return list.reduce((sum, size) => sum + size, 0) / list.length
    }
    expect(mean('MESSAGE_CREATE')).toBeGreaterThan(1400)
    expect(mean('MESSAGE_CREATE')).toBeLessThan(2400)
    expect(mean('PRESENCE_UPDATE')).toBeGreaterThan(400)
    expect(mean('PRESENCE_UPDATE')).toBeLessThan(800)
    expect(mean('GUILD_MEMBER_UPDATE')).toBeGreaterThan(450)
    expect(mean('GUILD_MEMBER_UPDATE')).toBeLessThan(850)
  })
})

describe('GUILD_CREATE', () => {
  test('lists all members of a guild up to large_threshold', () => {
    const world = smallWorld(2)
    for (const id of world.guildIds(0, 1)) {
      const guild = world.guildCreate(id, ALL)
      if (guild['large'] === true) continue
      expect(objects(guild['members'])).toHaveLength(guild['member_count'] as number)
    }
  })

  test('lists who is online, has a role or a nickname, or is in voice above it', () => {
    const world = new World({ seed: 2, guilds: 1, membersMax: 400 })
    const [id] = world.guildIds(0, 1)
    const guild = world.guildCreate(id!, ALL)
    const members = objects(guild['members'])
    expect(guild['large']).toBe(true)
    expect(guild['member_count']).toBe(400)
    expect(members.length).toBeLessThan(400)
    expect(members.length).toBeGreaterThan(100)
    const online = new Set(
      objects(guild['presences']).map((presence) => (presence['user'] as JsonObject)['id']),
    )
    const inVoice = new Set(objects(guild['voice_states']).map((state) => state['user_id']))
    for (const member of members) {
      const userId = (member['user'] as JsonObject)['id']
      const hasRole = (member['roles'] as bigint[]).length > 0
      const isListed = hasRole || member['nick'] !== null || online.has(userId)
      expect(isListed || inVoice.has(userId) || userId === BOT).toBe(true)
    }
  })

  test('lists only the bot and who is in voice without GUILD_PRESENCES or in a very large guild', () => {
    const world = new World({ seed: 2, guilds: 3, membersMax: 300, largeGuildMembers: 200 })
    const large = world.guildIds(0, 1).find((id) => world.guild(id)['member_count'] === 300)!
    const views = [ALL, { ...ALL, intents: ALL_INTENTS & ~INTENTS.GUILD_PRESENCES }]
    for (const view of views) {
      const guild = world.guildCreate(large, view)
      expect(objects(guild['members'])).toHaveLength(objects(guild['voice_states']).length + 1)
    }
  })

  test('is a stub during an outage, and whole after it', () => {
    const world = smallWorld(4)
    const [outage] = world.mutate('GUILD_OUTAGE')
    const id = outage!.guildId!
    expect(outage!.d).toEqual({ unavailable: true, id })
    expect(world.guildCreate(id, ALL)).toEqual({ unavailable: true, id })
    expect(world.requestMembers({ guildId: id, query: '', limit: 0 }, ALL).chunks).toEqual([])
    const [recovery] = world.mutate('GUILD_RECOVERY')
    expect(recovery!.guildId).toBe(id)
    expect(world.render(recovery!, ALL)).toMatchObject({ id, unavailable: false })
  })
})

describe('render', () => {
  test('gives every session the same object where nothing depends on it', () => {
    const world = smallWorld(6)
    const [event] = world.mutate('CHANNEL_CREATE')
    expect(world.render(event!, ALL)).toBe(event!.d)
  })

  test('empties messages without MESSAGE_CONTENT, but not direct ones', () => {
    const world = smallWorld(6)
    const view = { ...ALL, intents: ALL_INTENTS & ~INTENTS.MESSAGE_CONTENT }
    const [message] = world.mutate('MESSAGE_CREATE')
    expect(world.render(message!, view)).toMatchObject({ content: '', embeds: [], components: [] })
    const [direct] = world.mutate('DIRECT_MESSAGE_CREATE')
    expect(direct!.guildId).toBeNull()
    expect(world.render(direct!, view)!['content']).not.toBe('')
  })

  test('gives nothing without the intent, and tells guild messages from direct ones', () => {
    const world = smallWorld(6)
    const direct = { ...ALL, intents: INTENTS.DIRECT_MESSAGES }
    const guild = { ...ALL, intents: INTENTS.GUILD_MESSAGES }
    const [message] = world.mutate('MESSAGE_CREATE')
    const [directMessage] = world.mutate('DIRECT_MESSAGE_CREATE')
    expect(world.render(message!, direct)).toBeNull()
    expect(world.render(message!, guild)).not.toBeNull()
    expect(world.render(directMessage!, direct)).not.toBeNull()
    expect(world.render(directMessage!, guild)).toBeNull()
  })

  test('gives the bot’s own member update without GUILD_MEMBERS', () => {
    const world = smallWorld(6)
    const view = { ...ALL, intents: INTENTS.GUILDS }
    const [own] = world.mutate('GUILD_MEMBER_UPDATE_SELF')
    expect(world.render(own!, view)).not.toBeNull()
    for (let i = 0; i < 20; i++) {
      for (const event of world.mutate('GUILD_MEMBER_UPDATE')) {
        const isSelf = (event.d['user'] as JsonObject)['id'] === BOT
        expect(world.render(event, view) !== null).toBe(isSelf)
      }
    }
  })

  test('tells of other thread members only with GUILD_MEMBERS', () => {
    const world = smallWorld(6)
    const view = { ...ALL, intents: INTENTS.GUILDS }
    for (let i = 0; i < 20; i++) {
      for (const event of world.mutate('THREAD_MEMBERS_UPDATE')) {
        if (event.t !== 'THREAD_MEMBERS_UPDATE') continue
        const isOwn = textOf(event.d).includes(`"user_id":"${BOT}n"`)
        expect(world.render(event, view) !== null).toBe(isOwn)
      }
    }
    const joined = world.mutate('THREAD_JOINED').at(-1)!
    expect(world.render(joined, view)).toMatchObject({ added_members: [{ user_id: BOT }] })
  })
})

describe('requestMembers', () => {
  test('answers with chunks of 1,000, numbered, with nonce and presences', () => {
    const world = new World({ seed: 9, guilds: 1, membersMax: 1200 })
    const guildId = world.guildIds(0, 1)[0]!
    const request = { guildId, query: '', limit: 0, presences: true, nonce: 'abc' }
    const { chunks } = world.requestMembers(request, ALL)
    expect(chunks.map((chunk) => objects(chunk['members']).length)).toEqual([1000, 200])
    expect(chunks.map((chunk) => chunk['chunk_index'])).toEqual([0, 1])
    expect(chunks[1]).toMatchObject({ chunk_count: 2, nonce: 'abc', not_found: [] })
    expect(objects(chunks[0]!['presences']).length).toBeGreaterThan(100)
  })

  test('echoes no nonce longer than 32 bytes, and names users who are not members', () => {
    const world = smallWorld(9)
    const guildId = world.guildIds(0, 1)[0]!
    const member = objects(world.guild(guildId)['members'])[1]!
    const userId = (member['user'] as JsonObject)['id'] as bigint
    const request = { guildId, userIds: [userId, 5n], nonce: 'é'.repeat(17) }
    const [chunk] = world.requestMembers(request, ALL).chunks
    expect(chunk).not.toHaveProperty('nonce')
    expect(chunk).toMatchObject({ not_found: [5n], members: [member] })
  })

  test('finds by prefix, 100 at most, and gives all members only with GUILD_MEMBERS', () => {
    const world = new World({ seed: 9, guilds: 1, membersMax: 1200 })
    const guildId = world.guildIds(0, 1)[0]!
    const found = world.requestMembers({ guildId, query: '', limit: 500 }, ALL).chunks
    expect(objects(found[0]!['members']).length).toBe(100)
    const view = { ...ALL, intents: INTENTS.GUILDS }
    const none = world.requestMembers({ guildId, query: '', limit: 0 }, view).chunks
    expect(objects(none[0]!['members'])).toEqual([])
  })
})

describe('the bot', () => {
  test('joins, moves in and leaves voice, with a voice server when it is in a channel', () => {
    const world = smallWorld(9)
    const guildId = world.guildIds(0, 1)[0]!
    const channels = objects(world.guild(guildId)['channels']).filter(({ type }) => type === 2)
    const request = { guildId, selfMute: true, selfDeaf: false }
    const joined = world.updateVoiceState({ ...request, channelId: channels[0]!['id'] as bigint })
    expect(joined.map(({ t }) => t)).toEqual(['VOICE_STATE_UPDATE', 'VOICE_SERVER_UPDATE'])
    const left = world.updateVoiceState({ ...request, channelId: null })
    expect(left[0]!.d).toMatchObject({
      channel_id: null,
      user_id: BOT,
      session_id: joined[0]!.d['session_id'],
    })
  })
})
