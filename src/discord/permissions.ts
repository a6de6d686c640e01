/** What a member may do in a channel. See [Discord Docs/Permissions]. */

/** Name → bit. See [Discord Docs/Permissions#permissions-bitwise-permission-flags]; bit 47 has no name. */
const BITS = {
  CREATE_INSTANT_INVITE: 0,
  KICK_MEMBERS: 1,
  BAN_MEMBERS: 2,
  ADMINISTRATOR: 3,
  MANAGE_CHANNELS: 4,
  MANAGE_GUILD: 5,
  ADD_REACTIONS: 6,
  VIEW_AUDIT_LOG: 7,
  PRIORITY_SPEAKER: 8,
  STREAM: 9,
  VIEW_CHANNEL: 10,
  SEND_MESSAGES: 11,
  SEND_TTS_MESSAGES: 12,
  MANAGE_MESSAGES: 13,
  EMBED_LINKS: 14,
  ATTACH_FILES: 15,
  READ_MESSAGE_HISTORY: 16,
  MENTION_EVERYONE: 17,
  USE_EXTERNAL_EMOJIS: 18,
  VIEW_GUILD_INSIGHTS: 19,
  CONNECT: 20,
  SPEAK: 21,
  MUTE_MEMBERS: 22,
  DEAFEN_MEMBERS: 23,
  MOVE_MEMBERS: 24,
  USE_VAD: 25,
  CHANGE_NICKNAME: 26,
  MANAGE_NICKNAMES: 27,
  MANAGE_ROLES: 28,
  MANAGE_WEBHOOKS: 29,
  MANAGE_GUILD_EXPRESSIONS: 30,
  USE_APPLICATION_COMMANDS: 31,
  REQUEST_TO_SPEAK: 32,
  MANAGE_EVENTS: 33,
  MANAGE_THREADS: 34,
  CREATE_PUBLIC_THREADS: 35,
  CREATE_PRIVATE_THREADS: 36,
  USE_EXTERNAL_STICKERS: 37,
  SEND_MESSAGES_IN_THREADS: 38,
  USE_EMBEDDED_ACTIVITIES: 39,
  MODERATE_MEMBERS: 40,
  VIEW_CREATOR_MONETIZATION_ANALYTICS: 41,
  USE_SOUNDBOARD: 42,
  CREATE_GUILD_EXPRESSIONS: 43,
  CREATE_EVENTS: 44,
  USE_EXTERNAL_SOUNDS: 45,
  SEND_VOICE_MESSAGES: 46,
  SET_VOICE_CHANNEL_STATUS: 48,
  SEND_POLLS: 49,
  USE_EXTERNAL_APPS: 50,
  PIN_MESSAGES: 51,
  BYPASS_SLOWMODE: 52,
} as const

export type PermissionName = keyof typeof BITS

const NAMES = Object.keys(BITS) as PermissionName[]

export function permissionBit(name: PermissionName): bigint {
  return 1n << BigInt(BITS[name])
}

/** What an owner and an administrator have. */
export const ALL_PERMISSIONS: bigint = NAMES.reduce((all, name) => all | permissionBit(name), 0n)

const ADMINISTRATOR = permissionBit('ADMINISTRATOR')
const VIEW_CHANNEL = permissionBit('VIEW_CHANNEL')
const SEND_MESSAGES = permissionBit('SEND_MESSAGES')
const SEND_MESSAGES_IN_THREADS = permissionBit('SEND_MESSAGES_IN_THREADS')
const CONNECT = permissionBit('CONNECT')
/** Who may not send may not do these either. */
const WITH_SENDING =
  permissionBit('MENTION_EVERYONE') |
  permissionBit('SEND_TTS_MESSAGES') |
  permissionBit('ATTACH_FILES') |
  permissionBit('EMBED_LINKS')
/** See [Discord Docs/Permissions#permissions-for-timed-out-members]. */
const TIMED_OUT = VIEW_CHANNEL | permissionBit('READ_MESSAGE_HISTORY')

/** GUILD_VOICE and GUILD_STAGE_VOICE. */
const VOICE_TYPES: ReadonlySet<number> = new Set([2, 13])

export interface PermissionMember {
  readonly userId: string
  readonly isOwner: boolean
  readonly roleIds: readonly string[]
  readonly isTimedOut: boolean
}

export interface PermissionOverwrite {
  /** Of a role or a member. */
  readonly id: string
  /** 0 role, 1 member. */
  readonly type: number
  readonly allow: string
  readonly deny: string
}

export interface PermissionChannel {
  /** Of the parent for a thread. */
  readonly type: number
  readonly isThread: boolean
  /** Of the parent for a thread. */
  readonly overwrites: readonly PermissionOverwrite[]
}

/**
 * A member's permissions, in a channel or, without one, in the guild.
 *
 * @param rolePermissions by role id, with the one of @everyone, whose id is the guild's. A role that is
 * not in it gives nothing.
 */
export function memberPermissions(
  guildId: string,
  member: PermissionMember,
  rolePermissions: ReadonlyMap<string, string>,
  channel?: PermissionChannel,
): bigint {
  if (member.isOwner) return ALL_PERMISSIONS
  let base = BigInt(rolePermissions.get(guildId) ?? 0)
  for (const roleId of member.roleIds) base |= BigInt(rolePermissions.get(roleId) ?? 0)
  if ((base & ADMINISTRATOR) !== 0n) return ALL_PERMISSIONS
  const granted =
    channel === undefined ? base : implied(overwritten(guildId, base, member, channel), channel)
  return member.isTimedOut ? granted & TIMED_OUT : granted
}

/** The names of the bits that have one, lowest first. */
export function permissionNames(permissions: bigint): PermissionName[] {
  return NAMES.filter((name) => (permissions & permissionBit(name)) !== 0n)
}

/** @everyone's overwrite, then those of all roles together, then the member's own. */
function overwritten(
  guildId: string,
  base: bigint,
  member: PermissionMember,
  { overwrites }: PermissionChannel,
): bigint {
  const roleIds = new Set(member.roleIds)
  const everyone = { allow: 0n, deny: 0n }
  const roles = { allow: 0n, deny: 0n }
  const own = { allow: 0n, deny: 0n }
  for (const { id, type, allow, deny } of overwrites) {
    const isMember = type === 1
    if (isMember ? id !== member.userId : id !== guildId && !roleIds.has(id)) continue
    const sum = isMember ? own : id === guildId ? everyone : roles
    sum.allow |= BigInt(allow)
    sum.deny |= BigInt(deny)
  }
  let permissions = base
  for (const { allow, deny } of [everyone, roles, own]) permissions = (permissions & ~deny) | allow
  return permissions
}

/** See [Discord Docs/Permissions#implicit-permissions, #inherited-permissions-threads]. */
function implied(explicit: bigint, { type, isThread }: PermissionChannel): bigint {
  if ((explicit & VIEW_CHANNEL) === 0n) return 0n
  if (VOICE_TYPES.has(type) && !isThread && (explicit & CONNECT) === 0n) return VIEW_CHANNEL
  const canSend = (explicit & (isThread ? SEND_MESSAGES_IN_THREADS : SEND_MESSAGES)) !== 0n
  const permissions = canSend ? explicit : explicit & ~WITH_SENDING
  // The parent's right to send does not reach into its threads.
  return isThread ? permissions & ~SEND_MESSAGES : permissions
}
