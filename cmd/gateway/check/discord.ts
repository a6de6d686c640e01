/** What Discord says of the token: whose it is, how many identifies are left, which intents it may use. */
import { type Clock, type Random, silentLog } from '../../../src/base/index.ts'
import type { DatabaseReport } from '../../../src/cache/index.ts'
import type { GatewayConfig } from '../../../src/config/index.ts'
import {
  allowedIntents,
  intentNames,
  PRIVILEGED_INTENTS,
  userIdOfToken,
} from '../../../src/discord/index.ts'
import {
  fetchApplicationFlags,
  fetchGatewayBot,
  type GatewayBot,
  ShardError,
} from '../../../src/shard/index.ts'
import { type CheckRow, failed, notOk, ok, unknown } from './row.ts'

export interface CheckDeps {
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  /** How long an unreachable server is tried. */
  readonly timeoutMs: number
}

const PORTAL = 'the Developer Portal, under Bot > Privileged Gateway Intents'

/** @param database what is known of the sessions; null when it could not be read. */
export async function checkDiscord(
  config: GatewayConfig,
  database: DatabaseReport | null,
  deps: CheckDeps,
): Promise<CheckRow[]> {
  const botUserId = userIdOfToken(config.token.reveal())
  if (botUserId === null) {
    const cure = 'Copy it again from the Developer Portal (Bot > Reset Token).'
    return [notOk('token', "its first part is not a bot's user id", cure)]
  }
  const asked = {
    api: config.discordApi,
    token: config.token,
    userAgent: `DiscordBot (https://github.com/tatsuworks/gateway, ${deps.version})`,
  }
  let bot: GatewayBot
  try {
    bot = await fetchGatewayBot({ ...asked, ...deps, log: silentLog, deadlineMs: deps.timeoutMs })
  } catch (error) {
    const isToken = error instanceof ShardError && error.code === 'SHARD_TOKEN_REFUSED'
    return [failed(isToken ? 'token' : 'Discord', error)]
  }
  return [
    ok('token', `of the bot ${botUserId}, accepted by ${config.discordApi}`),
    ok('Discord', `${bot.url}, recommends ${bot.shards} shards`),
    budgetRow(config, bot, database),
    intentsRow(config, await fetchApplicationFlags(asked)),
  ]
}

function budgetRow(
  config: GatewayConfig,
  { shards, sessionStartLimit }: GatewayBot,
  database: DatabaseReport | null,
): CheckRow {
  const { total, remaining, resetAfterMs } = sessionStartLimit
  const count = config.shardCount ?? database?.fleet?.shardCount ?? shards
  const needed = Math.max(0, count - (database?.sessions ?? 0))
  const reserve = Math.floor((total * config.identifyReservePercent) / 100)
  const found = `${remaining} of ${total} left, ${reserve} of them in reserve; this start needs ${needed} for ${count} shards`
  if (needed === 0 || remaining - reserve >= needed) return ok('identify budget', found)
  const hours = (resetAfterMs / 3_600_000).toFixed(1)
  const cure = `Wait for the reset in ${hours} h, or start and let the last shards wait for it.`
  return notOk('identify budget', found, cure)
}

function intentsRow(config: GatewayConfig, flags: number | null): CheckRow {
  const asked = config.intents & PRIVILEGED_INTENTS
  const names = intentNames(config.intents).length
  if (asked === 0) return ok('intents', `${names}, none of them privileged`)
  if (flags === null) {
    const found = `Discord does not say whether ${list(asked)} are allowed`
    return unknown('intents', found, `Look into ${PORTAL}.`)
  }
  const missing = asked & ~allowedIntents(flags)
  if (missing === 0) return ok('intents', `${names}, the privileged ones are allowed`)
  const cure = `Switch them on in ${PORTAL}, or leave them out of -intents.`
  return notOk('intents', `not allowed for this bot: ${list(missing)}`, cure)
}

function list(intents: number): string {
  return intentNames(intents).join(', ')
}
