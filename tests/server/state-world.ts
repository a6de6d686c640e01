import type { Database } from '../../src/cache/index.ts'

/** A small world, as JSON that Discord would show, and the rows that hold it. */
export const GUILD = '197038439483310086'
export const OTHER_GUILD = '302094807046684672'
export const EMPTY_GUILD = '302094807046684673'
export const UNKNOWN = '999999999999999999'
export const CHANNEL = '381870553235193857'
export const THREAD = '1100000000000000001'
export const MESSAGE = '1100000000000000777'
export const ROLE = '1098000000000000001'
export const OTHER_ROLE = '1098000000000000002'
export const EMOJI = '1097000000000000001'

export const NAMES = {
  plain: 'Nelly',
  quoted: `Robert'); drop table members;-- "\\`,
  emoji: '🦊👩‍👩‍👧 Ärger',
  // In jsonb a lone surrogate cannot exist; what the writer puts in its place can.
  replaced: 'a\ufffdb',
  wild: '100%_sure\\x',
} as const

export interface Member {
  readonly user: {
    readonly id: string
    readonly username: string
    readonly global_name: string | null
    readonly display_name?: string
  }
  readonly nick: string | null
  readonly roles: readonly string[]
  readonly joined_at: string
}

function member(
  id: number,
  part: Partial<Member['user']> & Pick<Partial<Member>, 'nick' | 'roles'>,
): Member {
  const { nick = null, roles = [], ...user } = part
  return {
    user: {
      id: String(80351110224678900n + BigInt(id)),
      username: `user${id}`,
      global_name: null,
      ...user,
    },
    nick,
    roles,
    joined_at: '2021-05-01T12:00:00.000000+00:00',
  }
}

export const MEMBERS = [
  member(1, { username: NAMES.plain.toLowerCase(), roles: [ROLE] }),
  member(2, { global_name: NAMES.quoted, roles: [ROLE, OTHER_ROLE] }),
  member(3, { nick: NAMES.emoji }),
  member(4, { display_name: NAMES.wild }),
  member(5, { username: NAMES.replaced }),
] as const

export const GUILD_DATA = {
  id: GUILD,
  name: NAMES.quoted,
  member_count: 5,
  features: [],
  nsfw: false,
  icon: null,
}
export const CHANNEL_DATA = { id: CHANNEL, name: NAMES.emoji, type: 0, position: 3, topic: '' }
export const THREAD_DATA = { id: THREAD, parent_id: CHANNEL, guild_id: GUILD, name: 't', type: 11 }
export const ROLE_DATA = {
  id: ROLE,
  name: 'mod',
  permissions: '8',
  color: 16711680,
  tags: { bot_id: '1' },
}
export const OTHER_ROLE_DATA = { id: OTHER_ROLE, name: NAMES.wild, permissions: '0', color: 0 }
export const EMOJI_DATA = { id: EMOJI, name: 'fox', animated: true, roles: [] }
export const MESSAGE_DATA = {
  id: MESSAGE,
  channel_id: CHANNEL,
  content: NAMES.emoji,
  embeds: [{ fields: [1.5, -2, 1e21] }],
}
export const PRESENCE_DATA = { user: { id: MEMBERS[0].user.id }, status: 'idle', activities: [] }

export async function insertWorld(db: Database): Promise<void> {
  const insert = async (text: string, ...rows: readonly (readonly unknown[])[]): Promise<void> => {
    for (const row of rows) {
      const values = row.map((value) =>
        typeof value === 'object' && value !== null ? JSON.stringify(value) : value,
      )
      await db.query(text, values)
    }
  }
  await insert(
    'insert into guilds (id, data) values ($1, $2)',
    [GUILD, GUILD_DATA],
    [OTHER_GUILD, { id: OTHER_GUILD }],
  )
  await insert('insert into channels (id, guild_id, data) values ($1, $2, $3)', [
    CHANNEL,
    GUILD,
    CHANNEL_DATA,
  ])
  await insert(
    'insert into threads (id, parent_id, guild_id, data) values ($1, $2, $3, $4)',
    [THREAD, CHANNEL, GUILD, THREAD_DATA],
    ['1100000000000000002', '5', OTHER_GUILD, { id: '1100000000000000002' }],
  )
  await insert(
    'insert into roles (id, guild_id, data) values ($1, $2, $3)',
    [OTHER_ROLE, GUILD, OTHER_ROLE_DATA],
    [ROLE, GUILD, ROLE_DATA],
  )
  await insert('insert into emojis (id, guild_id, data) values ($1, $2, $3)', [
    EMOJI,
    GUILD,
    EMOJI_DATA,
  ])
  await insert('insert into messages (id, data) values ($1, $2)', [MESSAGE, MESSAGE_DATA])
  await insert('insert into presence (user_id, guild_id, data) values ($1, $2, $3)', [
    MEMBERS[0].user.id,
    GUILD,
    PRESENCE_DATA,
  ])
  await insert(
    'insert into members (guild_id, user_id, data, last_updated) values ($1, $2, $3, $4)',
    ...MEMBERS.map((data) => [GUILD, data.user.id, data, '2026-01-01 00:00:00']),
    // The same person in another guild, seen later under another name.
    [
      OTHER_GUILD,
      MEMBERS[0].user.id,
      { ...MEMBERS[0], user: { ...MEMBERS[0].user, username: 'nelly2' } },
      '2026-02-01 00:00:00',
    ],
  )
}
