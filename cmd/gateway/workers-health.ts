/** The health of several workers as their parent's: the checks of each, with its name in front. */
import type { Health, HealthCheck, HealthChecks } from '../../src/server/index.ts'

const ASK_TIMEOUT_MS = 3000

export interface WorkerFace {
  readonly name: string
  /** Null: it does not listen; it is starting, or being started again. */
  readonly httpUrl: string | null
}

interface WorkerAnswer {
  readonly checks?: Readonly<Record<string, { readonly ok?: boolean; readonly reason?: string }>>
}

export function workersHealth(workers: readonly WorkerFace[]): Health {
  const ask = async (path: string, isAbsentOk: boolean): Promise<HealthChecks> => {
    const answers = await Promise.all(
      workers.map(async ({ name, httpUrl }) => askWorker(name, httpUrl, path, isAbsentOk)),
    )
    return Object.fromEntries(answers.flat())
  }
  return {
    // A worker that has ended is started again by the parent; that is no reason to end the parent.
    live: () => ask('/healthz', true),
    ready: () => ask('/readyz', false),
  }
}

async function askWorker(
  name: string,
  httpUrl: string | null,
  path: string,
  isAbsentOk: boolean,
): Promise<[string, HealthCheck][]> {
  if (httpUrl === null) {
    return [[name, { isOk: isAbsentOk, reason: 'the worker is being started' }]]
  }
  try {
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS)
    const { checks = {} } = (await (
      await fetch(`${httpUrl}${path}`, { signal })
    ).json()) as WorkerAnswer
    return Object.entries(checks).map(([check, { ok, reason, ...details }]) => [
      `${name}.${check}`,
      { isOk: ok === true, reason: reason ?? '', details },
    ])
  } catch {
    return [[name, { isOk: false, reason: `the worker does not answer ${path}` }]]
  }
}
