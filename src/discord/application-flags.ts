/** Flags of an application. See [Discord Docs/Application#application-object-application-flags]. */
import { INTENTS } from './intents.ts'

/** Intent → the flag of an approved bot, and that of one in fewer than 100 guilds; either allows it. */
const FLAGS: readonly (readonly [number, number])[] = [
  [INTENTS.GUILD_PRESENCES, (1 << 12) | (1 << 13)],
  [INTENTS.GUILD_MEMBERS, (1 << 14) | (1 << 15)],
  [INTENTS.MESSAGE_CONTENT, (1 << 18) | (1 << 19)],
]

/** The privileged intents that are switched on for an application. */
export function allowedIntents(flags: number): number {
  let intents = 0
  for (const [intent, bits] of FLAGS) if ((flags & bits) !== 0) intents |= intent
  return intents
}
