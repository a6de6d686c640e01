/** Each destination: whether it can be reached, whether it keeps what it accepts, whether its events can come. */
import { memoryCounters, silentLog, within } from '../../../src/base/index.ts'
import type { DestinationConfig, GatewayConfig } from '../../../src/config/index.ts'
import { EVENTS, isEventName } from '../../../src/discord/index.ts'
import { SpillLedger, SpillThread, type RedisReport, reportRedis } from '../../../src/push/index.ts'
import { wireDestination } from '../destinations.ts'
import type { CheckDeps } from './discord.ts'
import { type CheckRow, failed, notOk, ok, unknown } from './row.ts'

export async function checkDestinations(
  config: GatewayConfig,
  deps: CheckDeps,
): Promise<CheckRow[]> {
  const rows = await Promise.all(
    config.destinations.map(async (destination) => [
      ...(await checkConnection(config, destination, deps)),
      ...checkEvents(config, destination),
    ]),
  )
  return rows.flat()
}

async function checkConnection(
  config: GatewayConfig,
  destination: DestinationConfig,
  deps: CheckDeps,
): Promise<CheckRow[]> {
  const { name, kind, address } = destination
  const part = `${name}: ${kind}`
  if (kind === 'grpc-subscribe' && config.grpcAddress === null) {
    return [notOk(part, 'nobody can subscribe: -addr is none', 'Give -addr an address.')]
  }
  if (kind === 'grpc-subscribe') return [ok(part, `served on ${config.grpcAddress}`)]
  if (kind === 'stdout') return [ok(part, 'lines of JSON')]
  if (address === null) return [await checkByStart(part, destination, deps)]
  try {
    const report = await reportRedis({ ...deps, address: address.reveal() })
    return [redisRow(part, report), ...durabilityRows(name, report)]
  } catch (error) {
    return [failed(part, error)]
  }
}

function redisRow(part: string, { address, version, role }: RedisReport): CheckRow {
  const found = `${address}${version === null ? '' : `, version ${version}`}`
  if (role !== 'slave') return ok(part, found)
  return notOk(part, `${found} is a replica, which takes no writes`, 'Give the primary.')
}

/** What a crash or a full memory would take of what was accepted. */
function durabilityRows(name: string, report: RedisReport): CheckRow[] {
  const rows: CheckRow[] = []
  const { appendonly, appendfsync, maxmemoryBytes, maxmemoryPolicy } = report
  const durability = `${name}: durability`
  if (appendonly === null) {
    const found = 'this user may not ask (CONFIG GET)'
    rows.push(unknown(durability, found, 'See to it that appendonly is yes.'))
  } else if (appendonly !== 'yes') {
    const found = 'appendonly is no: what lies in it is forgotten when it crashes'
    const cure = 'CONFIG SET appendonly yes and CONFIG REWRITE, or the same in redis.conf.'
    rows.push(notOk(durability, found, cure))
  } else if (appendfsync === 'no') {
    const found = 'appendfsync is no: a power cut takes what the system has not written yet'
    rows.push(notOk(durability, found, 'CONFIG SET appendfsync everysec, or always.'))
  } else {
    const loss = appendfsync === 'always' ? 'nothing' : 'the last second'
    rows.push(ok(durability, `appendfsync ${appendfsync}: a power cut takes ${loss}`))
  }
  const memory = `${name}: memory`
  if (maxmemoryPolicy === null || maxmemoryBytes === null) {
    const found = 'this user may not ask (CONFIG GET)'
    rows.push(unknown(memory, found, 'See to it that maxmemory-policy is noeviction.'))
  } else if (maxmemoryBytes > 0 && maxmemoryPolicy !== 'noeviction') {
    const found = `maxmemory-policy is ${maxmemoryPolicy}: a full Redis throws events away, and says nothing`
    rows.push(notOk(memory, found, 'CONFIG SET maxmemory-policy noeviction.'))
  } else {
    const bound = maxmemoryBytes === 0 ? 'no maxmemory' : `maxmemory ${maxmemoryBytes} bytes`
    rows.push(ok(memory, `${bound}, ${maxmemoryPolicy}`))
  }
  return rows
}

/** By what its start would do. */
async function checkByStart(
  part: string,
  config: DestinationConfig,
  deps: CheckDeps,
): Promise<CheckRow> {
  try {
    const { destination, release } = await wireDestination(
      // What lies in a spill is the business of the program that runs.
      { ...config, isRequired: true, whenFull: 'block' },
      {
        ...deps,
        log: silentLog,
        counters: memoryCounters(),
        fleetId: 'check',
        connectionName: 'gateway-check',
        spill: { folder: '', thread: new SpillThread(), ledger: new SpillLedger() },
        lane: () => ({ submit: () => undefined, done: () => undefined }),
        removeLane: () => undefined,
        onDrop: () => undefined,
      },
    )
    try {
      const isInTime = await within(deps.clock, destination.start(), deps.timeoutMs)
      if (isInTime) return ok(part, 'reachable')
      const cure = 'Check the addresses, that the consumers run, and that this host may connect.'
      return notOk(part, `no answer within ${deps.timeoutMs} ms`, cure)
    } finally {
      await destination.drain(0)
      release()
    }
  } catch (error) {
    return failed(part, error)
  }
}

/** Events that are listed and that no intent makes Discord send. */
function checkEvents(config: GatewayConfig, { name, events }: DestinationConfig): CheckRow[] {
  const never = [...(events ?? [])].filter((event) => {
    const intents = isEventName(event) ? EVENTS[event] : 0
    return intents !== 0 && (intents & config.intents) === 0
  })
  if (never.length === 0) return []
  const found = `will never come with these intents: ${never.join(', ')}`
  return [notOk(`${name}: events`, found, 'Add their intents to -intents, or leave them out.')]
}
