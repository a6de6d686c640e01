import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { requireServerBinary } from './binaries.ts'
import { type Account, freePort, runTied, ServerProcess } from './server-process.ts'

/**
 * The real servers of the tests. Each start is a cluster of its own: a free port of the loopback, data
 * in the system's temporary folder, nothing shared with a server of the machine.
 */
export interface TestServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  readonly dataDir: string
  /** What it printed. */
  readonly log: string
  /** Ends it and removes its data. */
  stop(): Promise<void>
  /** Ends it cleanly, keeping port and data for `start`. */
  shutDown(): Promise<void>
  /** kill -9, keeping port and data for `start`. */
  kill(): Promise<void>
  start(): Promise<void>
  /** Connections stay open and nothing answers, until `thaw`. */
  freeze(): void
  thaw(): void
}

export interface PostgresOptions {
  /** false: data does not survive a power cut, and everything is quicker. Default true. */
  readonly fsync?: boolean
  /** Further settings, such as `{ wal_level: 'logical' }`. */
  readonly settings?: Readonly<Record<string, string>>
}

/** A Postgres cluster; `url` is its superuser's, without a password, database `postgres`. */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestServer> {
  const command = requireServerBinary('postgres')
  const initdb = requireServerBinary('initdb')
  const account = postgresAccount()
  const isDurable = options.fsync ?? true
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    max_connections: '200',
    // A thousand test databases are made and dropped: no work of its own between the tests'.
    autovacuum: 'off',
    ...(isDurable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...options.settings,
  }
  const server = await ServerProcess.launch(
    {
      name: 'postgres',
      command,
      args: (port, dataDir) =>
        [
          ['-D', join(dataDir, 'cluster'), '-p', String(port), '-k', dataDir],
          ...Object.entries(settings).map(([name, value]) => ['-c', `${name}=${value}`]),
        ].flat(),
      readyPattern: /database system is ready to accept connections/,
      portTakenPattern: /could not bind|could not create any TCP/,
      // "Fast" shutdown: sessions are ended, a checkpoint is written.
      stopSignal: 'SIGINT',
      account,
    },
    (dataDir) =>
      runTied(
        initdb,
        ['-D', join(dataDir, 'cluster'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8'].concat([
          '--locale=C',
          '--no-sync',
        ]),
        { account, cwd: dataDir },
      ),
  )
  return asTestServer(server, `postgres://postgres@127.0.0.1:${server.port}/postgres`)
}

export interface RedisOptions {
  /** Whether it keeps an append-only file, written through before each answer. Default false: a restart forgets. */
  readonly appendonly?: boolean
  /** Further arguments, such as `['--maxmemory', '1mb']`. */
  readonly args?: readonly string[]
}

export async function startRedis(options: RedisOptions = {}): Promise<TestServer> {
  const durability =
    options.appendonly === true
      ? ['--appendonly', 'yes', '--appendfsync', 'always']
      : ['--appendonly', 'no']
  const server = await ServerProcess.launch({
    name: 'redis',
    command: requireServerBinary('redis'),
    args: (port, dataDir) =>
      [
        ['--port', String(port), '--bind', '127.0.0.1', '--dir', dataDir, '--save', ''],
        durability,
        options.args ?? [],
      ].flat(),
    readyPattern: /Ready to accept connections/,
    portTakenPattern: /Address already in use|bind: /,
    stopSignal: 'SIGTERM',
  })
  return asTestServer(server, `redis://127.0.0.1:${server.port}`)
}

export interface EtcdOptions {
  /** PEM files; clients then have to speak TLS. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string }
}

export async function startEtcd({ tls }: EtcdOptions = {}): Promise<TestServer> {
  const peerPort = await freePort()
  return startMember('test', peerPort, `test=http://127.0.0.1:${peerPort}`, tls)
}

/** The members of one cluster; a majority of them has to live for it to answer. */
export async function startEtcdCluster(members: number): Promise<TestServer[]> {
  const ports = await Promise.all(Array.from({ length: members }, () => freePort()))
  const cluster = ports.map((port, index) => `m${index}=http://127.0.0.1:${port}`).join(',')
  return Promise.all(ports.map((port, index) => startMember(`m${index}`, port, cluster)))
}

async function startMember(
  name: string,
  peerPort: number,
  cluster: string,
  tls?: EtcdOptions['tls'],
): Promise<TestServer> {
  const peerUrl = `http://127.0.0.1:${peerPort}`
  const scheme = tls === undefined ? 'http' : 'https'
  const server = await ServerProcess.launch({
    name: 'etcd',
    command: requireServerBinary('etcd'),
    args: (port, dataDir) =>
      [
        ['--name', name, '--data-dir', join(dataDir, 'member')],
        ['--listen-client-urls', `${scheme}://127.0.0.1:${port}`],
        ['--advertise-client-urls', `${scheme}://127.0.0.1:${port}`],
        tls === undefined ? [] : ['--cert-file', tls.certFile, '--key-file', tls.keyFile],
        ['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
        ['--initial-cluster', cluster, '--logger', 'zap'],
      ].flat(),
    readyPattern: /serving client traffic|serving insecure client/,
    portTakenPattern: /address already in use/,
    stopSignal: 'SIGTERM',
    // etcd 3.4 asks for this word on ARM.
    env: process.arch === 'arm64' ? { ETCD_UNSUPPORTED_ARCH: 'arm64' } : {},
  })
  return asTestServer(server, `${scheme}://127.0.0.1:${server.port}`)
}

function asTestServer(server: ServerProcess, url: string): TestServer {
  return {
    url,
    port: server.port,
    dataDir: server.dataDir,
    get pid() {
      return server.pid
    },
    get log() {
      return server.log
    },
    stop: () => server.stop(),
    shutDown: () => server.shutDown(),
    kill: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
  }
}

/** Postgres refuses to run as root; then it is the system's postgres, else nobody. */
function postgresAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(':')
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) }
  }
  throw new Error(
    'Postgres refuses to run as root, and there is neither a user postgres nor nobody.',
  )
}
