/** Alerts and dashboard speak of metrics that exist; promtool checks them where it is installed. */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { METRICS } from '../../src/telemetry/index.ts'
import { findOnPath, systemPlaces } from '../support/binaries.ts'
import { projectDir, readProjectFile } from '../tidy/tree.ts'
import { readYaml } from './manifest.ts'

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string }
}

interface Panel {
  readonly title: string
  readonly type: string
  readonly targets?: readonly { readonly expr: string }[]
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
}

const [{ groups }] = readYaml<{ groups: { rules: Rule[] }[] }>('deploy/prometheus/alerts.yml') as [
  { groups: { rules: Rule[] }[] },
]
const rules = groups.flatMap((group) => group.rules)
const dashboard = JSON.parse(readProjectFile('deploy/grafana/dashboard.json')) as {
  panels: Panel[]
}

/** `gateway_worker_up` is the parent's own; the rest of the process' metrics are prom-client's. */
const KNOWN = new Set([...Object.keys(METRICS), 'gateway_worker_up'])
const documented = readProjectFile('docs/metrics.md')

function unknownIn(expr: string): string[] {
  const names = expr.match(/\b(gateway|process|nodejs)_[a-z0-9_]+/g) ?? []
  return names.filter((name) => {
    if (!name.startsWith('gateway_')) return !/^(process|nodejs)_/.test(name)
    const family = name.replace(/_(bucket|sum|count)$/, '')
    const isKnown = KNOWN.has(name) || KNOWN.has(family)
    return !isKnown || !documented.includes(`\`${KNOWN.has(name) ? name : family}\``)
  })
}

function labelsUsed(expr: string): [string, string][] {
  const used: [string, string][] = []
  for (const [, name, body] of expr.matchAll(/\b(gateway_[a-z0-9_]+)\{([^}]*)\}/g)) {
    for (const [, label] of body!.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)/g))
      used.push([name!, label!])
  }
  return used
}

describe('the alerts', () => {
  test('are named once, and each says how urgent it is and what it saw', () => {
    const names = rules.map(({ alert }) => alert)
    expect(names).toEqual([...new Set(names)])
    for (const { alert, labels, annotations } of rules) {
      expect(alert).toMatch(/^Gateway[A-Z][A-Za-z]+$/)
      expect(['page', 'warn']).toContain(labels.severity)
      expect(annotations.summary.length).toBeGreaterThan(20)
    }
  })

  test('ask for metrics of docs/metrics.md only', () => {
    expect(rules.flatMap(({ expr }) => unknownIn(expr))).toEqual([])
  })

  test('are accepted by promtool and fire as their own tests say, where it is installed', () => {
    const promtool = findOnPath('promtool', systemPlaces)
    if (promtool === null) return
    for (const argv of [
      ['check', 'rules', 'alerts.yml'],
      ['test', 'rules', 'alerts.test.yml'],
    ]) {
      const { status, stdout, stderr } = spawnSync(promtool, argv, {
        cwd: `${projectDir}deploy/prometheus`,
        encoding: 'utf8',
      })
      expect(status, stdout + stderr).toBe(0)
    }
  })
})

describe('the runbook of docs/operating.md', () => {
  const page = readProjectFile('docs/operating.md')
  const runbook = page.slice(page.indexOf('\n## Runbook\n'))
  const entries = [
    ...runbook.matchAll(/^### (\w+)\n\n\*(\w+)\.\* \*\*Means:\*\* (.+)\n\n\*\*Do:\*\* (.+)$/gm),
  ]

  test('has an entry for each alert, in their order, with the urgency of the rule', () => {
    expect(entries.map(([, alert, severity]) => [alert, severity])).toEqual(
      rules.map(({ alert, labels }) => [alert, labels.severity]),
    )
  })

  test('says in each what it means and what to do', () => {
    for (const [, alert, , meaning, cure] of entries) {
      expect(meaning!.length, alert).toBeGreaterThan(40)
      expect(cure!.length, alert).toBeGreaterThan(40)
    }
  })

  test('names metrics that exist', () => {
    const named = [...page.matchAll(/`(gateway_[a-z_]+)`/g)].map(([, name]) => name!)
    const tables = new Set(['gateway_sessions', 'gateway_migrations', 'gateway_spills'])
    expect(named.filter((name) => !tables.has(name)).flatMap(unknownIn)).toEqual([])
  })
})

describe('the Grafana dashboard', () => {
  const expressions = dashboard.panels.flatMap(({ targets = [] }) =>
    targets.map(({ expr }) => expr),
  )

  test('asks for metrics of docs/metrics.md only', () => {
    expect(expressions.length).toBeGreaterThan(30)
    expect(expressions.flatMap(unknownIn)).toEqual([])
  })

  test('filters by labels that the metric has', () => {
    const wrong = [...expressions, ...rules.map(({ expr }) => expr)]
      .flatMap(labelsUsed)
      .filter(([name, label]) => {
        const own = METRICS[name.replace(/_bucket$/, '')]?.labels.split(', ') ?? []
        return ![...own, 'instance', 'job', 'worker'].includes(label)
      })
    expect(wrong).toEqual([])
  })

  test('has panels that do not overlap', () => {
    const taken = new Set<string>()
    for (const { title, gridPos } of dashboard.panels) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x},${y}`), title).toBe(false)
          taken.add(`${x},${y}`)
        }
      }
    }
  })
})
