import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ALL_PERMISSIONS,
  memberPermissions,
  type PermissionChannel,
  type PermissionMember,
  permissionBit,
  type PermissionName,
  permissionNames,
  type PermissionOverwrite,
} from '../../src/discord/permissions.ts'

const GUILD = '100'
const USER = '7'
const bits = (...names: PermissionName[]): string =>
  String(names.reduce((sum, name) => sum | permissionBit(name), 0n))
const allow = (id: string, type: number, ...names: PermissionName[]): PermissionOverwrite => ({
  id,
  type,
  allow: bits(...names),
  deny: '0',
})
const deny = (id: string, type: number, ...names: PermissionName[]): PermissionOverwrite => ({
  id,
  type,
  allow: '0',
  deny: bits(...names),
})

const ROLES = new Map([
  [GUILD, bits('VIEW_CHANNEL', 'SEND_MESSAGES', 'EMBED_LINKS', 'READ_MESSAGE_HISTORY', 'CONNECT')],
  ['1', bits('KICK_MEMBERS')],
  ['2', bits('MANAGE_MESSAGES')],
  ['8', bits('ADMINISTRATOR')],
])
const EVERYONE = ['VIEW_CHANNEL', 'SEND_MESSAGES', 'EMBED_LINKS', 'READ_MESSAGE_HISTORY', 'CONNECT']

interface Case {
  readonly member?: Partial<PermissionMember>
  readonly channel?: Partial<PermissionChannel>
  readonly expected: readonly string[] | 'all'
}

describe('memberPermissions', () => {
  test.each<[string, Case]>([
    [
      '@everyone and the roles add up',
      { member: { roleIds: ['1'] }, expected: [...EVERYONE, 'KICK_MEMBERS'] },
    ],
    ['a role that is not known gives nothing', { member: { roleIds: ['99'] }, expected: EVERYONE }],
    [
      'the owner has all',
      {
        member: { isOwner: true, isTimedOut: true },
        channel: { overwrites: [deny(USER, 1, 'VIEW_CHANNEL')] },
        expected: 'all',
      },
    ],
    [
      'an administrator has all, whatever the channel and a timeout say',
      {
        member: { roleIds: ['8'], isTimedOut: true },
        channel: { overwrites: [deny(GUILD, 0, 'VIEW_CHANNEL')] },
        expected: 'all',
      },
    ],
    [
      'a timed-out member keeps two',
      { member: { isTimedOut: true }, expected: ['VIEW_CHANNEL', 'READ_MESSAGE_HISTORY'] },
    ],
    [
      'a timed-out member keeps two in a channel',
      {
        member: { isTimedOut: true },
        channel: {},
        expected: ['VIEW_CHANNEL', 'READ_MESSAGE_HISTORY'],
      },
    ],
    [
      "@everyone's overwrite denies",
      { channel: { overwrites: [deny(GUILD, 0, 'CONNECT')] }, expected: EVERYONE.slice(0, 4) },
    ],
    [
      "a role's overwrite goes over @everyone's",
      {
        member: { roleIds: ['1'] },
        channel: { overwrites: [allow('1', 0, 'CONNECT'), deny(GUILD, 0, 'CONNECT')] },
        expected: [...EVERYONE, 'KICK_MEMBERS'],
      },
    ],
    [
      'what one role allows no other role denies',
      {
        member: { roleIds: ['1', '2'] },
        channel: { overwrites: [allow('1', 0, 'CONNECT'), deny('2', 0, 'CONNECT')] },
        expected: [...EVERYONE, 'KICK_MEMBERS', 'MANAGE_MESSAGES'],
      },
    ],
    [
      "the member's overwrite goes over the roles'",
      {
        member: { roleIds: ['1'] },
        channel: {
          overwrites: [deny(USER, 1, 'CONNECT', 'KICK_MEMBERS'), allow('1', 0, 'CONNECT')],
        },
        expected: EVERYONE.slice(0, 4),
      },
    ],
    [
      "a role's overwrite with the member's id is not his",
      { channel: { overwrites: [deny(USER, 0, 'CONNECT')] }, expected: EVERYONE },
    ],
    [
      'who cannot see can do nothing',
      {
        channel: {
          overwrites: [deny(GUILD, 0, 'VIEW_CHANNEL'), allow(USER, 1, 'MANAGE_MESSAGES')],
        },
        expected: [],
      },
    ],
    [
      'who cannot send cannot embed, attach, mention everyone or speak by TTS',
      {
        channel: {
          overwrites: [
            deny(GUILD, 0, 'SEND_MESSAGES'),
            allow(
              USER,
              1,
              'ATTACH_FILES',
              'MENTION_EVERYONE',
              'SEND_TTS_MESSAGES',
              'ADD_REACTIONS',
            ),
          ],
        },
        expected: ['VIEW_CHANNEL', 'READ_MESSAGE_HISTORY', 'CONNECT', 'ADD_REACTIONS'],
      },
    ],
    [
      'who cannot connect to a voice channel only sees it',
      {
        channel: {
          type: 2,
          overwrites: [deny(GUILD, 0, 'CONNECT'), allow(USER, 1, 'MANAGE_CHANNELS')],
        },
        expected: ['VIEW_CHANNEL'],
      },
    ],
    [
      'who cannot connect to a stage only sees it',
      {
        channel: { type: 13, overwrites: [deny(GUILD, 0, 'CONNECT')] },
        expected: ['VIEW_CHANNEL'],
      },
    ],
    [
      'a thread does not inherit SEND_MESSAGES',
      {
        channel: { isThread: true },
        expected: ['VIEW_CHANNEL', 'READ_MESSAGE_HISTORY', 'CONNECT'],
      },
    ],
    [
      'a thread needs SEND_MESSAGES_IN_THREADS',
      {
        channel: {
          isThread: true,
          overwrites: [
            allow(GUILD, 0, 'SEND_MESSAGES_IN_THREADS'),
            deny(GUILD, 0, 'SEND_MESSAGES'),
          ],
        },
        expected: [
          'VIEW_CHANNEL',
          'EMBED_LINKS',
          'READ_MESSAGE_HISTORY',
          'CONNECT',
          'SEND_MESSAGES_IN_THREADS',
        ],
      },
    ],
  ])('%s', (_name, { member, channel, expected }) => {
    const permissions = memberPermissions(
      GUILD,
      { userId: USER, isOwner: false, roleIds: [], isTimedOut: false, ...member },
      ROLES,
      channel === undefined ? undefined : { type: 0, isThread: false, overwrites: [], ...channel },
    )
    if (expected === 'all') expect(permissions).toBe(ALL_PERMISSIONS)
    else expect(permissionNames(permissions).sort()).toEqual([...expected].sort())
  })

  const mask = fc.bigInt({ min: 0n, max: (1n << 53n) - 1n })
  const ids = fc.constantFrom(GUILD, '1', '2', '3', USER)
  const overwrite = fc.record({
    id: ids,
    type: fc.constantFrom(0, 1),
    allow: mask.map(String),
    deny: mask.map(String),
  })
  const world = fc.record({
    roles: fc.dictionary(fc.constantFrom(GUILD, '1', '2', '3'), mask.map(String)),
    roleIds: fc.uniqueArray(fc.constantFrom('1', '2', '3')),
    isTimedOut: fc.boolean(),
    isThread: fc.boolean(),
    type: fc.constantFrom(0, 2, 5, 13, 15),
    overwrites: fc.uniqueArray(overwrite, { selector: ({ id, type }) => `${id} ${type}` }),
  })

  test("is the documentation's algorithm, less what the implicit rules take", () => {
    fc.assert(
      fc.property(world, ({ roles, roleIds, isTimedOut, isThread, type, overwrites }) => {
        // As the documentation writes it down.
        let base = BigInt(roles[GUILD] ?? 0)
        for (const id of roleIds) base |= BigInt(roles[id] ?? 0)
        const member = { userId: USER, isOwner: false, roleIds, isTimedOut }
        const actual = memberPermissions(GUILD, member, new Map(Object.entries(roles)), {
          type,
          isThread,
          overwrites,
        })
        if ((base & 8n) === 8n) return actual === ALL_PERMISSIONS
        let explicit = base
        const apply = (list: readonly PermissionOverwrite[]): void => {
          for (const { deny: no } of list) explicit &= ~BigInt(no)
          for (const { allow: yes } of list) explicit |= BigInt(yes)
        }
        apply(overwrites.filter(({ id, type: kind }) => kind === 0 && id === GUILD))
        apply(
          overwrites.filter(
            ({ id, type: kind }) => kind === 0 && (roleIds as readonly string[]).includes(id),
          ),
        )
        apply(overwrites.filter(({ id, type: kind }) => kind === 1 && id === USER))
        const has = (value: bigint, name: PermissionName): boolean =>
          (value & permissionBit(name)) !== 0n
        // Nothing is granted that was not; without VIEW_CHANNEL nothing at all.
        if ((actual & ~explicit) !== 0n) return false
        if (!has(explicit, 'VIEW_CHANNEL')) return actual === 0n
        if (!has(actual, 'VIEW_CHANNEL')) return false
        if (isTimedOut)
          return (actual & ~BigInt(bits('VIEW_CHANNEL', 'READ_MESSAGE_HISTORY'))) === 0n
        if (isThread && has(actual, 'SEND_MESSAGES')) return false
        const isVoice = (type === 2 || type === 13) && !isThread
        if (isVoice && !has(explicit, 'CONNECT')) return actual === permissionBit('VIEW_CHANNEL')
        // Only these five may be taken from who can see.
        const taken = explicit & ~actual
        const takeable = BigInt(
          bits(
            'SEND_MESSAGES',
            'MENTION_EVERYONE',
            'SEND_TTS_MESSAGES',
            'ATTACH_FILES',
            'EMBED_LINKS',
          ),
        )
        return (taken & ~takeable) === 0n
      }),
      { numRuns: 2000 },
    )
  })
})
