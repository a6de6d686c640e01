import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findOnPath } from './binaries.ts'

/** Who a server runs as when the tests run as root. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export interface ServerSpec {
  readonly name: string
  readonly command: string
  /** The arguments for this port and data folder; called again for each start. */
  readonly args: (port: number, dataDir: string) => readonly string[]
  /** What the server prints once it takes connections. */
  readonly readyPattern: RegExp
  /** What it prints when it lost its port to somebody else between our look and its start. */
  readonly portTakenPattern: RegExp
  /** The signal of a clean and quick end. */
  readonly stopSignal: NodeJS.Signals
  readonly account?: Account | undefined
  readonly env?: Readonly<Record<string, string>>
  readonly port?: number | undefined
}

const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 10_000
const START_ATTEMPTS_MAX = 4
const LOG_CHARS_MAX = 256 * 1024
const DATA_DIR_PREFIX = 'gateway-tests-'

/**
 * A server of the tests: a child process on a port and a data folder of its own, which outlive the
 * process (`kill` and `shutDown`, then `start`) until `stop` removes both.
 *
 * The child never outlives us: the kernel ends it when this process dies, kill -9 included
 * (prctl PR_SET_PDEATHSIG, through setpriv(1) of util-linux); where there is no setpriv an exit hook
 * does what it can. Data folders left behind by a killed run are swept by the next one.
 */
export class ServerProcess {
  readonly dataDir: string
  readonly #spec: ServerSpec
  #port: number
  #child: ChildProcess | null = null
  #log = ''

  private constructor(spec: ServerSpec, dataDir: string, port: number) {
    this.#spec = spec
    this.dataDir = dataDir
    this.#port = port
  }

  /** Makes a data folder, hands it to `prepare`, and starts the server on a free port. */
  static async launch(
    spec: ServerSpec,
    prepare: (dataDir: string) => Promise<void> = async () => undefined,
  ): Promise<ServerProcess> {
    sweepLeftovers()
    const dataDir = mkdtempSync(join(tmpdir(), `${DATA_DIR_PREFIX}${process.pid}-${spec.name}-`))
    if (spec.account !== undefined) chownSync(dataDir, spec.account.uid, spec.account.gid)
    try {
      await prepare(dataDir)
      for (let attempt = 1; ; attempt++) {
        const server = new ServerProcess(spec, dataDir, spec.port ?? (await freePort()))
        try {
          await server.start()
          return server
        } catch (error) {
          const isPortTaken = spec.portTakenPattern.test(server.log)
          if (spec.port !== undefined || !isPortTaken || attempt === START_ATTEMPTS_MAX) throw error
        }
      }
    } catch (error) {
      rmSync(dataDir, { recursive: true, force: true })
      throw error
    }
  }

  get port(): number {
    return this.#port
  }

  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new Error(`${this.#spec.name} is not running`)
    return pid
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  /** The last 256 KiB of what it printed, over all its starts. */
  get log(): string {
    return this.#log
  }

  /** Starts it again on the same port and data. Resolves once it takes connections. */
  async start(): Promise<void> {
    if (this.#child !== null) throw new Error(`${this.#spec.name} runs already`)
    const { command, args, account, env, name, readyPattern } = this.#spec
    const child = spawnTied(command, args(this.#port, this.dataDir), {
      account,
      cwd: this.dataDir,
      env: env ?? {},
      deathSignal: 'SIGKILL',
    })
    this.#child = child
    let printed = ''
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onOutput = (chunk: Buffer): void => {
      const text = chunk.toString()
      this.#log = (this.#log + text).slice(-LOG_CHARS_MAX)
      if (printed === READY) return
      printed += text
      if (!readyPattern.test(printed)) return
      printed = READY
      resolve()
    }
    child.stdout?.on('data', onOutput)
    child.stderr?.on('data', onOutput)
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      this.#child = null
      reject(new Error(`${name} ended (${signal ?? `exit code ${code}`}) and said:\n${this.#log}`))
    })
    const timer = setTimeout(() => {
      reject(new Error(`${name} was not ready within ${READY_TIMEOUT_MS} ms:\n${this.#log}`))
      child.kill('SIGKILL')
    }, READY_TIMEOUT_MS)
    try {
      await promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** Ends it cleanly; data and port stay. */
  async shutDown(): Promise<void> {
    const child = this.#child
    if (child === null) return
    const ended = endOf(child)
    const timer = setTimeout(() => signalTree(child, 'SIGKILL'), STOP_TIMEOUT_MS)
    signalTree(child, 'SIGCONT')
    child.kill(this.#spec.stopSignal)
    await ended
    clearTimeout(timer)
  }

  /** kill -9, with its children; data and port stay. */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === null) return
    const ended = endOf(child)
    signalTree(child, 'SIGKILL')
    await ended
  }

  /** Stops its processes from running (SIGSTOP): connections stay open and nothing answers. */
  freeze(): void {
    if (this.#child !== null) signalTree(this.#child, 'SIGSTOP')
  }

  thaw(): void {
    if (this.#child !== null) signalTree(this.#child, 'SIGCONT')
  }

  /** Ends it and removes its data. */
  async stop(): Promise<void> {
    await this.shutDown()
    rmSync(this.dataDir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  }
}

const READY = '\0ready'

/** Runs a program to its end; rejects with what it printed when it fails. */
export async function runTied(
  command: string,
  args: readonly string[],
  options: { readonly account?: Account | undefined; readonly cwd: string },
): Promise<void> {
  const child = spawnTied(command, args, { ...options, env: {}, deathSignal: 'SIGKILL' })
  let printed = ''
  child.stdout?.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode) => resolve(exitCode))
  })
  if (code !== 0) throw new Error(`${command} ended with exit code ${code}:\n${printed}`)
}

export interface TiedOptions {
  readonly account?: Account | undefined
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly deathSignal: NodeJS.Signals
}

/** Starts a program that the kernel ends when this process ends. */
export function spawnTied(
  command: string,
  args: readonly string[],
  options: TiedOptions,
): ChildProcess {
  const setpriv = findOnPath('setpriv')
  const isTied = setpriv !== null && process.platform === 'linux'
  const signal = options.deathSignal.replace('SIG', '')
  const child = spawn(
    isTied ? setpriv : command,
    isTied ? ['--pdeathsig', signal, '--', command, ...args] : [...args],
    {
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: Ctrl-C goes to the test runner, which ends it in order.
      detached: true,
      ...options.account,
    },
  )
  const onExit = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', onExit)
  child.once('exit', () => process.removeListener('exit', onExit))
  return child
}

/** Signals the child and the processes that it forked (Postgres' backends are in sessions of their own). */
function signalTree(child: ChildProcess, signal: NodeJS.Signals): void {
  const pids = child.pid === undefined ? [] : childrenOf(child.pid)
  child.kill(signal)
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It ended by itself meanwhile.
    }
  }
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    return text === '' ? [] : text.split(' ').map(Number)
  } catch {
    return []
  }
}

async function endOf(child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
  })
}

/** A port that nobody listens on at this moment. Whoever uses it must be ready to find it taken. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  return port
}

/** Removes the data folders of test runs that were killed. */
function sweepLeftovers(): void {
  for (const entry of readdirSync(tmpdir())) {
    if (!entry.startsWith(DATA_DIR_PREFIX)) continue
    const pid = Number(entry.slice(DATA_DIR_PREFIX.length).split('-')[0])
    if (!Number.isInteger(pid) || isAlive(pid)) continue
    rmSync(join(tmpdir(), entry), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
