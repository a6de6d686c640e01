import { expect, test } from 'vitest'
import {
  ALL_INTENTS,
  CLOSE_CODES,
  closeAction,
  EVENTS,
  INTENT_PRESETS,
  intentNames,
  isEventName,
  isSnowflake,
  PRIVILEGED_INTENTS,
  RESUMABLE_CLOSE_CODE,
  shardOfGuild,
  snowflakeTimeMs,
  userIdOfToken,
} from '../../src/discord/index.ts'

test('each close code has the action of the protocol table', () => {
  const actions = Object.fromEntries(CLOSE_CODES.map(({ code, action }) => [code, action]))
  expect(actions).toEqual({
    4000: 'resume',
    4001: 'resume',
    4002: 'resume',
    4003: 'identify',
    4004: 'stop',
    4005: 'resume',
    4007: 'identify',
    4008: 'resume',
    4009: 'identify',
    4010: 'stop',
    4011: 'stop',
    4012: 'stop',
    4013: 'stop',
    4014: 'stop',
  })
  for (const { action, cure } of CLOSE_CODES) expect(cure !== '').toBe(action === 'stop')
})

test('a close without a code, and a code that Discord does not define, resume', () => {
  for (const code of [1000, 1001, 1006, 1011, 4006, 4999]) expect(closeAction(code)).toBe('resume')
})

test('the code we close with keeps the session', () => {
  expect([1000, 1001]).not.toContain(RESUMABLE_CLOSE_CODE)
  expect(RESUMABLE_CLOSE_CODE).toBeGreaterThanOrEqual(4000)
})

test('intents sum up as Discord documents them', () => {
  expect(ALL_INTENTS).toBe(53_608_447)
  expect(ALL_INTENTS & ~PRIVILEGED_INTENTS).toBe(53_575_421)
})

test("the presets are the ancestor's, bit for bit", () => {
  const sum = (bits: number[]): number => bits.reduce((all, bit) => all | (1 << bit), 0)
  expect(INTENT_PRESETS.all).toBe(0xffff)
  expect(INTENT_PRESETS.default).toBe(sum([0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13, 15]))
  expect(INTENT_PRESETS.fast).toBe(sum([2, 3, 4, 5, 6, 7, 9, 10, 12, 13, 15]))
  expect(intentNames(INTENT_PRESETS.fast | (1 << 30))).toEqual([
    'GUILD_MODERATION',
    'GUILD_EXPRESSIONS',
    'GUILD_INTEGRATIONS',
    'GUILD_WEBHOOKS',
    'GUILD_INVITES',
    'GUILD_VOICE_STATES',
    'GUILD_MESSAGES',
    'GUILD_MESSAGE_REACTIONS',
    'DIRECT_MESSAGES',
    'DIRECT_MESSAGE_REACTIONS',
    'MESSAGE_CONTENT',
    '1<<30',
  ])
})

test('events that always come need no intent', () => {
  expect(EVENTS.INTERACTION_CREATE).toBe(0)
  expect(isEventName('GUILD_MEMBERS_CHUNK')).toBe(true)
  expect(isEventName('GUILD_MEMBER_CHUNK')).toBe(false)
  expect(isEventName('toString')).toBe(false)
})

test('snowflakes are decimal, positive and below 2^64', () => {
  expect(isSnowflake('175928847299117063')).toBe(true)
  expect(isSnowflake('18446744073709551615')).toBe(true)
  for (const text of ['', '0', '-1', '1.5', '18446744073709551616', 'abc', '1e5', ' 1']) {
    expect(isSnowflake(text)).toBe(false)
  }
  // The documentation's own example: 2016-04-30 11:18:25.796 UTC.
  expect(snowflakeTimeMs(175928847299117063n)).toBe(Date.UTC(2016, 3, 30, 11, 18, 25, 796))
})

test('a guild belongs to shard (id >> 22) % count', () => {
  expect(shardOfGuild(175928847299117063n, 16)).toBe(Number((175928847299117063n >> 22n) % 16n))
  expect(shardOfGuild(1n << 22n, 3)).toBe(1)
})

test("a token's first part is the bot's user id", () => {
  const token = `${Buffer.from('175928847299117063').toString('base64url')}.x.y`
  expect(userIdOfToken(`Bot ${token}`)).toBe('175928847299117063')
  expect(userIdOfToken('not-a-token')).toBeNull()
})
