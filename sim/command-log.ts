/**
 * What clients have sent, heartbeats included, and which of Discord's limits they broke by it: the simulator's own accounting, apart
 * from what it does about it. Bounded: the oldest go first.
 */
import {
  ALL_MEMBERS_WINDOW_MS,
  Opcode,
  PRESENCE_UPDATES_MAX,
  PRESENCE_WINDOW_MS,
  SEND_EVENTS_MAX,
  SEND_WINDOW_MS,
} from '../src/discord/index.ts'

export interface SentCommand {
  readonly atMs: number
  /** The connection that it came by: most limits are each connection's. */
  readonly connection: number
  /** Null before READY. */
  readonly shard: number | null
  readonly op: number
  /** Of op 8 for all members of a guild. */
  readonly wholeListOf: bigint | null
}

const COMMANDS_MAX = 100_000

export class CommandLog {
  readonly commands: SentCommand[] = []
  #connections = 0

  newConnection(): number {
    return ++this.#connections
  }

  record(command: SentCommand): void {
    this.commands.push(command)
    if (this.commands.length > COMMANDS_MAX) this.commands.shift()
  }

  /** One sentence for each time that a limit was broken. */
  broken(): string[] {
    const found: string[] = []
    for (const [connection, commands] of this.#by(({ connection: of }) => of)) {
      const who = `connection ${connection}`
      found.push(...over(commands, SEND_EVENTS_MAX, SEND_WINDOW_MS, `${who}, all`))
      const presences = commands.filter(({ op }) => op === Opcode.PresenceUpdate)
      found.push(...over(presences, PRESENCE_UPDATES_MAX, PRESENCE_WINDOW_MS, `${who}, op 3`))
    }
    for (const [guildId, commands] of this.#by(({ wholeListOf }) => wholeListOf)) {
      if (guildId === null) continue
      found.push(...over(commands, 1, ALL_MEMBERS_WINDOW_MS, `members of guild ${guildId}`))
    }
    return found
  }

  #by<Key>(keyOf: (command: SentCommand) => Key): Map<Key, SentCommand[]> {
    return Map.groupBy(this.commands, keyOf)
  }
}

/** Where more than `max` lie in any `windowMs`. */
function over(
  commands: readonly SentCommand[],
  max: number,
  windowMs: number,
  what: string,
): string[] {
  const found: string[] = []
  for (let index = max; index < commands.length; index++) {
    const spanMs = commands[index]!.atMs - commands[index - max]!.atMs
    if (spanMs < windowMs)
      found.push(`${what}: ${max + 1} in ${spanMs} ms, at ${commands[index]!.atMs}`)
  }
  return found
}
