/** Gateway intents. See [Discord Docs/Gateway#gateway-intents]. */
export const INTENTS = {
  GUILDS: 1 << 0,
  GUILD_MEMBERS: 1 << 1,
  GUILD_MODERATION: 1 << 2,
  GUILD_EXPRESSIONS: 1 << 3,
  GUILD_INTEGRATIONS: 1 << 4,
  GUILD_WEBHOOKS: 1 << 5,
  GUILD_INVITES: 1 << 6,
  GUILD_VOICE_STATES: 1 << 7,
  GUILD_PRESENCES: 1 << 8,
  GUILD_MESSAGES: 1 << 9,
  GUILD_MESSAGE_REACTIONS: 1 << 10,
  GUILD_MESSAGE_TYPING: 1 << 11,
  DIRECT_MESSAGES: 1 << 12,
  DIRECT_MESSAGE_REACTIONS: 1 << 13,
  DIRECT_MESSAGE_TYPING: 1 << 14,
  MESSAGE_CONTENT: 1 << 15,
  GUILD_SCHEDULED_EVENTS: 1 << 16,
  AUTO_MODERATION_CONFIGURATION: 1 << 20,
  AUTO_MODERATION_EXECUTION: 1 << 21,
  GUILD_MESSAGE_POLLS: 1 << 24,
  DIRECT_MESSAGE_POLLS: 1 << 25,
} as const

/** Every documented bit. Another bit is answered with 4013. */
export const ALL_INTENTS: number = Object.values(INTENTS).reduce((sum, bit) => sum | bit, 0)

/** The bits that must be enabled in the Developer Portal, else 4014. */
export const PRIVILEGED_INTENTS: number =
  INTENTS.GUILD_MEMBERS | INTENTS.GUILD_PRESENCES | INTENTS.MESSAGE_CONTENT

/**
 * The presets of tatsuworks/gateway, bit for bit: `all` = 0..15, `default` = 0..7, 9, 10, 12, 13, 15,
 * `fast` = 2..7, 9, 10, 12, 13, 15.
 */
export const INTENT_PRESETS = {
  all: bits([0, 15]),
  default: bits([0, 7], [9, 10], [12, 13], [15, 15]),
  fast: bits([2, 7], [9, 10], [12, 13], [15, 15]),
} as const

/** The names of the set bits, in bit order; unknown bits as `1<<n`. */
export function intentNames(intents: number): string[] {
  const names: string[] = []
  for (let bit = 0; bit < 31; bit++) {
    if ((intents & (1 << bit)) === 0) continue
    const entry = Object.entries(INTENTS).find(([, value]) => value === 1 << bit)
    names.push(entry?.[0] ?? `1<<${bit}`)
  }
  return names
}

function bits(...ranges: readonly (readonly [number, number])[]): number {
  let sum = 0
  for (const [first, last] of ranges) for (let bit = first; bit <= last; bit++) sum |= 1 << bit
  return sum
}
