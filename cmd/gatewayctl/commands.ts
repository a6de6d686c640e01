/** What each word of gatewayctl's command line does. */
import { type Clock, sleep } from '../../src/base/index.ts'
import { ConfigError, GATEWAYCTL_OPTIONS } from '../../src/config/index.ts'
import { shardOfGuild } from '../../src/discord/index.ts'
import type { FleetClient, TailFilter } from './client.ts'
import { completionScript, isShell, SHELLS } from './completions.ts'
import {
  type GuildReply,
  type IdentifiesReply,
  type SpillsReply,
  type StatusReply,
  withNumbers,
} from './replies.ts'
import { guildText, identifiesText, lostText, spillsText, statusText } from './text.ts'
import { type Output, tail } from './tail.ts'

export interface CommandContext {
  readonly client: FleetClient
  /** Of -addr. */
  readonly addresses: readonly string[]
  readonly args: readonly string[]
  /** Of -events, -shard and -guilds. */
  readonly filter: TailFilter
  /** Of -count; null: not given. */
  readonly eventsMax: number | null
  /** For what does not end by itself. */
  readonly output: () => Output
  /** Of -allow; null: not given. */
  readonly allow: number | null
  /** Of -timeout; 0: do not wait. */
  readonly waitMs: number
  readonly clock: Clock
}

export interface Result {
  /** Null: what there was to print is printed. */
  readonly json: object | null
  readonly text: string
  /** What was asked for has not come to pass within -timeout. */
  readonly isOpen?: boolean
  /** For standard error. */
  readonly warning?: string
}

export interface Command {
  /** Names of its arguments. */
  readonly args: readonly string[]
  readonly sentence: string
  readonly run: (context: CommandContext) => Promise<Result>
}

const LOOK_MS = 100

export const COMMANDS: Readonly<Record<string, Command>> = {
  status: {
    args: [],
    sentence: 'Shows the workers and every shard: owner, state, lag, fence, last event.',
    async run({ client }) {
      const status = await readStatus(client)
      return { json: status, text: statusText(status) }
    },
  },
  move: {
    args: ['shard', 'worker'],
    sentence:
      'Moves a shard to a worker without an identify; it stays there while that worker lives. Waits until it is ready there.',
    async run(context) {
      const shard = shardArgument(context.args[0]!)
      const named = { shard, worker: context.args[1]! }
      const { worker } = await context.client.call<{ worker: string }>('fleet', 'MoveShard', named)
      const isDone = await until(context, ({ shards }) => {
        const now = shards.find((other) => other.shard === shard)
        return now?.worker === worker && now.state === 'ready'
      })
      const text = isDone
        ? `shard ${shard} is ready on ${worker}`
        : `shard ${shard} is asked to move to ${worker}; gatewayctl status shows where it is`
      return { json: { shard, worker, is_done: isDone }, text, isOpen: !isDone }
    },
  },
  unmove: {
    args: ['shard'],
    sentence: 'Takes move back: the shard goes where the balance wants it.',
    async run({ client, args }) {
      const shard = shardArgument(args[0]!)
      await client.call('fleet', 'UnmoveShard', { shard })
      return { json: { shard }, text: `shard ${shard} goes where the balance wants it` }
    },
  },
  drain: {
    args: ['worker'],
    sentence: 'Hands all shards of a worker to the others; it takes none until undrain.',
    async run(context) {
      const named = { worker: context.args[0]! }
      const { worker } = await context.client.call<{ worker: string }>(
        'fleet',
        'DrainWorker',
        named,
      )
      let left = 0
      const isDone = await until(context, ({ shards }) => {
        left = shards.filter((shard) => shard.worker === worker).length
        return left === 0
      })
      const text = isDone
        ? `${worker} holds no shard`
        : `${worker} is asked to give its shards away; it holds ${left}`
      return { json: { worker, is_done: isDone, left }, text, isOpen: !isDone }
    },
  },
  undrain: {
    args: ['worker'],
    sentence: 'Takes drain back.',
    async run({ client, args }) {
      const named = { worker: args[0]! }
      const { worker } = await client.call<{ worker: string }>('fleet', 'UndrainWorker', named)
      return { json: { worker }, text: `${worker} takes shards again` }
    },
  },
  restart: {
    args: ['shard'],
    sentence: 'Closes the connection of a shard and resumes its session. Costs no identify.',
    async run({ client, args }) {
      const shard = shardArgument(args[0]!)
      await client.call('gateway', 'RestartShard', { shard })
      return { json: { shard }, text: `shard ${shard} reconnects` }
    },
  },
  identifies: {
    args: [],
    sentence:
      'Shows what of the identifies is used and left, the reserve, the breaker, and who waits; -allow n lets n pass.',
    async run({ client, allow }) {
      if (allow !== null) await client.call('fleet', 'AllowIdentifies', { count: allow })
      const reply = withNumbers<IdentifiesReply>(await client.call('fleet', 'Identifies'))
      return { json: reply, text: identifiesText(reply) }
    },
  },
  guild: {
    args: ['guild id'],
    sentence: 'Shows the shard, worker and life of a guild, and which of its lists are whole.',
    async run({ client, args }) {
      const guild_id = guildArgument(args[0]!).toString()
      const reply = withNumbers<GuildReply>(await client.call('fleet', 'Guild', { guild_id }))
      return { json: reply, text: guildText(reply) }
    },
  },
  spills: {
    args: [],
    sentence:
      'Shows what lies on the disks of workers, acknowledged and not delivered, and who has it open.',
    async run({ client }) {
      const reply = withNumbers<SpillsReply>(await client.call('fleet', 'Spills'))
      return { json: reply, text: spillsText(reply) }
    },
  },
  lost: {
    args: ['spill'],
    sentence:
      'Declares that the disk of a spill never comes back: what lay in it is counted as a gap.',
    async run({ client, args }) {
      const spill = args[0]!
      const reply = withNumbers<SpillsReply>(await client.call('fleet', 'LoseSpill', { spill }))
      return { json: reply, text: lostText(spill, reply) }
    },
  },
  tail: {
    args: [],
    sentence:
      'Prints the events of all workers as they come, each a line of JSON, until Ctrl-C or -count; -events, -shard and -guilds choose. Needs a destination of the kind grpc-subscribe.',
    async run({ client, addresses, filter, eventsMax, output, clock }) {
      const { leftOut } = await tail({
        filter,
        eventsMax,
        output: output(),
        clock,
        async workers() {
          const { workers } = await readStatus(client)
          // One worker is the one that was asked, whatever way leads to it.
          if (workers.length === 1) return addresses.slice(0, 1)
          return workers.flatMap(({ address }) => (address === '' ? [] : [address]))
        },
      })
      return { json: null, text: '', ...(leftOut === 0 ? {} : { warning: leftOutText(leftOut) }) }
    },
  },
  completions: {
    args: ['shell'],
    sentence: 'Prints the completions of bash, zsh or fish: eval "$(gatewayctl completions bash)".',
    run({ args }) {
      const shell = args[0]!
      if (!isShell(shell)) throw badArgument('shell', shell, SHELLS.join(', '))
      const commands = Object.entries(COMMANDS).map(([name, { sentence }]) => ({ name, sentence }))
      const text = completionScript(shell, commands, GATEWAYCTL_OPTIONS).trimEnd()
      return Promise.resolve({ json: { shell, script: text }, text })
    },
  },
  requestmembers: {
    args: ['guild id'],
    sentence: 'Asks Discord for all members of a guild; they come as GUILD_MEMBERS_CHUNK.',
    async run({ client, args }) {
      const guildId = guildArgument(args[0]!)
      const { shard_count } = await readStatus(client)
      const shard = shardOfGuild(guildId, shard_count)
      const request = { guild_id: BigInt.asIntN(64, guildId).toString(), shard }
      await client.call('gateway', 'RequestGuildMembers', request)
      const text = `shard ${shard} has asked for the members of ${guildId}`
      return { json: { guild_id: guildId.toString(), shard }, text }
    },
  },
}

function leftOutText(events: number): string {
  return `${events} events were left out: whatever reads this is too slow for them.`
}

async function readStatus(client: FleetClient): Promise<StatusReply> {
  return withNumbers<StatusReply>(await client.call('fleet', 'Status'))
}

/** False: not within -timeout. */
async function until(
  { client, clock, waitMs }: CommandContext,
  isThere: (status: StatusReply) => boolean,
): Promise<boolean> {
  const deadline = clock.monotonic() + waitMs
  for (;;) {
    if (isThere(await readStatus(client))) return true
    if (clock.monotonic() + LOOK_MS > deadline) return false
    await sleep(clock, LOOK_MS)
  }
}

function shardArgument(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text)
  throw badArgument('shard', text, 'its number')
}

function guildArgument(text: string): bigint {
  if (/^[0-9]{1,20}$/.test(text) && BigInt(text) > 0n && BigInt(text) < 1n << 64n) {
    return BigInt(text)
  }
  throw badArgument('guild id', text, 'a decimal number as Discord shows it')
}

function badArgument(name: string, text: string, expected: string): ConfigError {
  const message = `${name} ${JSON.stringify(text)}: expected ${expected}.`
  return new ConfigError('CONFIG_BAD_ARGUMENT', message)
}
