import { describe, expect, test } from 'vitest'
import { memoryCounters } from '../../src/base/index.ts'
import { EventFilter, type EventFilterOptions } from '../../src/push/event-filter.ts'
import type { FilterRule } from '../../src/push/index.ts'
import { pushEvent } from './events.ts'

const counters = memoryCounters()

function filterOf(given: Partial<EventFilterOptions>): EventFilter {
  return new EventFilter({ destination: 'd', counters, ...given })
}

function ruled(rule: Partial<FilterRule>): (event: Parameters<typeof pushEvent>[0]) => boolean {
  const filter = filterOf({ rules: [{ name: 'r', ...rule }] })
  return (event) => filter.wants(pushEvent(event))
}

const message = (d: object): Parameters<typeof pushEvent>[0] => ({
  eventName: 'MESSAGE_CREATE',
  d: { id: 9n, channel_id: 5n, guild_id: 7n, content: 'hello', author: { id: 1n }, ...d },
})

describe('an event filter', () => {
  test('without rules takes joined GUILD_CREATEs only, and every GUILD_DELETE', () => {
    const filter = filterOf({})
    const wants = (eventName: string, guildClass: string): boolean =>
      filter.wants(pushEvent({ eventName, guildClass }))
    expect(wants('GUILD_CREATE', 'joined')).toBe(true)
    for (const other of ['', 'available', 'backfill', 'joining']) {
      expect(wants('GUILD_CREATE', other)).toBe(false)
    }
    expect(wants('GUILD_DELETE', 'unavailable')).toBe(true)
    expect(wants('READY', '')).toBe(false)
    expect(wants('GUILD_MEMBERS_CHUNK', '')).toBe(false)
    expect(wants('GUILD_MEMBERS_CHUNK', 'requested')).toBe(true)
  })

  test('a rule takes the classes that it names, and those of no other event', () => {
    const wants = ruled({ classes: new Set(['available', 'left']) })
    expect(wants({ eventName: 'GUILD_CREATE', guildClass: 'available' })).toBe(true)
    expect(wants({ eventName: 'GUILD_CREATE', guildClass: 'joined' })).toBe(false)
    expect(wants({ eventName: 'GUILD_DELETE', guildClass: 'left' })).toBe(true)
    expect(wants({ eventName: 'GUILD_DELETE', guildClass: 'unavailable' })).toBe(false)
    expect(wants({ eventName: 'MESSAGE_CREATE' })).toBe(true)
  })

  test('guild ids: by guild_id, by the own id of a guild event; an event of no guild is left out', () => {
    const wants = ruled({ guildIds: new Set([7n]) })
    expect(wants(message({}))).toBe(true)
    expect(wants(message({ guild_id: '7' }))).toBe(true)
    expect(wants(message({ guild_id: 8n }))).toBe(false)
    expect(wants({ eventName: 'GUILD_UPDATE', d: { id: 7n } })).toBe(true)
    expect(wants({ eventName: 'USER_UPDATE', d: { id: 7n } })).toBe(false)
  })

  test('channel ids: by channel_id, by the own id of channels and threads', () => {
    const wants = ruled({ channelIds: new Set([5n]) })
    expect(wants(message({}))).toBe(true)
    expect(wants(message({ channel_id: 6n }))).toBe(false)
    expect(wants({ eventName: 'THREAD_UPDATE', d: { id: 5n } })).toBe(true)
    expect(wants({ eventName: 'GUILD_ROLE_CREATE', d: { id: 5n } })).toBe(false)
  })

  test('author.bot: false takes what has no such field, true only what says so', () => {
    const humans = ruled({ isAuthorBot: false })
    const bots = ruled({ isAuthorBot: true })
    for (const [bot, isBot] of [
      [true, true],
      [false, false],
      [undefined, false],
      [null, false],
    ] as const) {
      const event = message({ author: bot === undefined ? { id: 1n } : { id: 1n, bot } })
      expect(humans(event)).toBe(!isBot)
      expect(bots(event)).toBe(isBot)
    }
    expect(humans({ eventName: 'TYPING_START', d: {} })).toBe(true)
  })

  test('content begins with one of the prefixes, compared as UTF-8', () => {
    const wants = ruled({ contentPrefixes: ['!', '¿qué'] })
    expect(wants(message({ content: '!ping' }))).toBe(true)
    expect(wants(message({ content: '¿qué tal' }))).toBe(true)
    expect(wants(message({ content: '¿qu' }))).toBe(false)
    expect(wants(message({ content: '' }))).toBe(false)
    expect(wants(message({ content: null }))).toBe(false)
    expect(wants({ eventName: 'TYPING_START', d: { channel_id: 5n } })).toBe(false)
  })

  test('type is one of the numbers', () => {
    const wants = ruled({ types: new Set([0, 19]) })
    expect(wants(message({ type: 19 }))).toBe(true)
    expect(wants(message({ type: 6 }))).toBe(false)
    expect(wants(message({}))).toBe(false)
  })

  test('shards and names narrow a rule; all of a rule must hold, and one rule is enough', () => {
    const own = memoryCounters()
    const filter = filterOf({
      counters: own,
      rules: [
        {
          name: 'commands',
          events: new Set(['MESSAGE_CREATE']),
          contentPrefixes: ['!'],
          isAuthorBot: false,
        },
        { name: 'low', events: new Set(['TYPING_START']), shards: new Set([0, 1]) },
      ],
    })
    const typing = (shardId: number): boolean =>
      filter.wants(pushEvent({ shardId, eventName: 'TYPING_START' }))
    expect([0, 1, 2].map(typing)).toEqual([true, true, false])
    expect(filter.wants(pushEvent(message({ content: '!ping' })))).toBe(true)
    expect(filter.wants(pushEvent(message({ content: '!ping', author: { bot: true } })))).toBe(
      false,
    )
    expect(filter.wants(pushEvent({ eventName: 'GUILD_CREATE', guildClass: 'joined' }))).toBe(false)
    // Somebody behind asked for it.
    const chunk = { eventName: 'GUILD_MEMBERS_CHUNK', guildClass: 'requested' }
    expect(filter.wants(pushEvent(chunk))).toBe(true)
    const counted = ['commands', 'low', 'none'].map((rule) =>
      own.read('gateway_push_filter_events_total', { destination: 'd', rule }),
    )
    expect(counted).toEqual([1, 2, 3])
  })

  test('the list of names goes first', () => {
    const filter = filterOf({
      events: ['TYPING_START'],
      rules: [{ name: 'r', shards: new Set([0]) }],
    })
    expect(filter.wants(pushEvent({ eventName: 'TYPING_START' }))).toBe(true)
    expect(filter.wants(pushEvent({ eventName: 'MESSAGE_CREATE' }))).toBe(false)
  })

  test('a term that cannot be read has no fields', () => {
    const broken = { bytes: Buffer.from([116, 0, 0, 0, 9, 250]), start: 0, end: 6 }
    const event = { ...pushEvent({}), ...broken }
    expect(filterOf({ rules: [{ name: 'r', guildIds: new Set([7n]) }] }).wants(event)).toBe(false)
    expect(filterOf({ rules: [{ name: 'r', isAuthorBot: false }] }).wants(event)).toBe(true)
  })
})
