/** The store of guild state and sessions: Postgres or the embedded one; and etcd. */
import { accessSync, constants, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { memoryCounters, messageOf, silentLog } from '../../../src/base/index.ts'
import { type DatabaseReport, openDatabase, reportDatabase } from '../../../src/cache/index.ts'
import { EtcdClient } from '../../../src/cluster/index.ts'
import type { GatewayConfig } from '../../../src/config/index.ts'
import { userIdOfToken } from '../../../src/discord/index.ts'
import type { CheckDeps } from './discord.ts'
import { type CheckRow, failed, notOk, ok } from './row.ts'

/** The oldest Postgres that the statements run on. */
const POSTGRES_VERSION_MIN = 150_000

export async function checkStore(
  config: GatewayConfig,
  deps: CheckDeps,
): Promise<{ readonly rows: CheckRow[]; readonly report: DatabaseReport | null }> {
  if (config.psql === null) return { rows: [checkFolder(config.dataDir)], report: null }
  const common = { ...deps, log: silentLog, counters: memoryCounters() }
  try {
    const database = await openDatabase(
      { url: config.psql, name: 'check', startTimeoutMs: deps.timeoutMs, connectionsMax: 1 },
      common,
    )
    try {
      const report = await reportDatabase(database)
      return { rows: databaseRows(config, database.address, report), report }
    } finally {
      await database.close()
    }
  } catch (error) {
    return { rows: [failed('Postgres', error)], report: null }
  }
}

function databaseRows(config: GatewayConfig, address: string, report: DatabaseReport): CheckRow[] {
  const server = `${address}, version ${report.version}`
  const rows: CheckRow[] = []
  if (report.versionNumber < POSTGRES_VERSION_MIN) {
    rows.push(notOk('Postgres', server, 'Give a Postgres of version 15 or later.'))
  } else if (report.isReadOnly) {
    const cure = 'Give the primary: this one is a replica, or set to read only.'
    rows.push(notOk('Postgres', `${server}, takes no writes`, cure))
  } else {
    rows.push(ok('Postgres', server))
  }
  rows.push(migrationsRow(report))
  const { fleet } = report
  const botUserId = userIdOfToken(config.token.reveal())
  if (fleet === null) {
    rows.push(ok('fleet', `nobody's database yet: it becomes that of "${config.name}"`))
  } else if (botUserId !== null && fleet.botUserId !== botUserId) {
    const found = `the database belongs to the bot ${fleet.botUserId}, not to ${botUserId}`
    rows.push(notOk('fleet', found, 'Give each bot a database of its own.'))
  } else if (fleet.name !== config.name) {
    const found = `the database belongs to the fleet "${fleet.name}", not to "${config.name}"`
    rows.push(notOk('fleet', found, `Start with -name ${fleet.name}, or give another database.`))
  } else {
    const shards = fleet.shardCount ?? 'no'
    rows.push(
      ok('fleet', `"${fleet.name}", ${shards} shards, ${report.sessions} sessions to resume`),
    )
  }
  return rows
}

function migrationsRow(report: DatabaseReport): CheckRow {
  if (report.ancestorTables.length > 0) {
    const found = `tables of another program, most likely tatsuworks/gateway: ${report.ancestorTables.join(', ')}`
    return notOk('migrations', found, 'gateway migrate -psql … shows how they are adopted.')
  }
  if (report.changed.length > 0) {
    const found = `not the ones that ran on this database: ${report.changed.join(', ')}`
    return notOk('migrations', found, 'Restore the files of the release that is installed.')
  }
  const newer = report.newer === 0 ? '' : `; ${report.newer} of a newer version are left alone`
  if (report.pending.length === 0) return ok('migrations', `all have run${newer}`)
  return ok('migrations', `the start runs ${report.pending.length}${newer}`)
}

function checkFolder(dataDir: string): CheckRow {
  const folder = resolve(dataDir)
  const cure = 'Give -data a folder that this user may write, or -psql a Postgres.'
  try {
    const found = statSync(folder, { throwIfNoEntry: false })
    if (found !== undefined && !found.isDirectory()) {
      return notOk('embedded store', `${folder} is not a folder`, cure)
    }
    accessSync(found === undefined ? existingParent(folder) : folder, constants.W_OK)
    const state = found === undefined ? 'is made at the start' : 'can be written'
    return ok('embedded store', `${folder} ${state}; it survives a crash, not a power cut`)
  } catch (error) {
    return notOk('embedded store', `${folder} cannot be written: ${messageOf(error)}`, cure)
  }
}

function existingParent(folder: string): string {
  let parent = dirname(folder)
  while (statSync(parent, { throwIfNoEntry: false }) === undefined && parent !== dirname(parent)) {
    parent = dirname(parent)
  }
  return parent
}

export async function checkEtcd(config: GatewayConfig, deps: CheckDeps): Promise<CheckRow[]> {
  if (config.etcd === null) return []
  try {
    const client = new EtcdClient({
      endpoints: config.etcd.reveal(),
      caFile: config.etcdCaFile,
      callMs: deps.timeoutMs,
      clock: deps.clock,
      log: silentLog,
      counters: memoryCounters(),
    })
    try {
      await client.probe()
      return [ok('etcd', client.address)]
    } finally {
      client.close()
    }
  } catch (error) {
    return [failed('etcd', error)]
  }
}
