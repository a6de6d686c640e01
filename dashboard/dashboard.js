/**
 * The page of the dashboard: draws the snapshots that come by server-sent events, once a second. A square per shard on a
 * canvas, of which only changed ones are drawn again; tables keep their rows. What others wrote is set as text, never as HTML.
 */
'use strict'

const STATES = {
  r: 'ready',
  s: 'resuming',
  i: 'identifying',
  v: 'proving',
  c: 'connecting',
  q: 'waits for a permit',
  w: 'backing off',
  p: 'parked',
  d: 'starting',
  u: 'nobody has it',
  x: 'not known',
  t: 'stopped',
  f: 'failed',
}
const HISTORY_SECONDS = 300
const SPARK_SECONDS = 60
const FIRST_OWNER = 48

const $ = (id) => document.getElementById(id)
const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
const number = (value, digits = 0) =>
  value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits })

/** An element with text and children. */
function element(tag, { text, className, ...rest } = {}, ...children) {
  const made = document.createElement(tag)
  if (text !== undefined) made.textContent = text
  if (className !== undefined) made.className = className
  Object.assign(made, rest)
  made.append(...children)
  return made
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/** Rows of a table by key: kept, filled again, removed; in the given order. */
function fillRows(body, items, keyOf, make, fill) {
  const rows = body.rowsByKey ?? (body.rowsByKey = new Map())
  const left = new Set(rows.keys())
  items.forEach((item, index) => {
    const key = keyOf(item)
    let row = rows.get(key)
    if (row === undefined) {
      row = make(item)
      rows.set(key, row)
    }
    left.delete(key)
    fill(row, item)
    if (body.children[index] !== row.node) body.insertBefore(row.node, body.children[index] ?? null)
  })
  for (const key of left) {
    rows.get(key).node.remove()
    rows.delete(key)
  }
}

function tableRow(classes) {
  const cells = classes.map((className) => element('td', { className }))
  return { node: element('tr', {}, ...cells), cells }
}

// Shards.

const grid = {
  canvas: $('grid'),
  states: '',
  owners: '',
  workers: [],
  columns: 1,
  cell: 12,
  chosen: -1,
  colors: {},

  layout(count) {
    const width = this.canvas.parentElement.clientWidth - 30
    // All fit into about 300 pixels of height, a square is 5 to 22 pixels wide.
    this.cell = Math.max(5, Math.min(22, Math.floor(Math.sqrt((width * 300) / Math.max(1, count)))))
    this.columns = Math.max(1, Math.floor(width / this.cell))
    const height = Math.ceil(count / this.columns) * this.cell
    const scale = devicePixelRatio || 1
    this.canvas.width = width * scale
    this.canvas.height = height * scale
    this.canvas.style.height = `${height}px`
    this.canvas.style.width = `${width}px`
    this.context = this.canvas.getContext('2d')
    this.context.setTransform(scale, 0, 0, scale, 0, 0)
    for (const letter of Object.keys(STATES)) this.colors[letter] = styleOf(`--${letter}`)
    this.isStale = true
  },

  draw(states) {
    if (this.isStale !== false || states.length !== this.states.length) {
      this.layout(states.length)
      this.states = ''
      this.isStale = false
    }
    for (let shard = 0; shard < states.length; shard++) {
      if (states[shard] !== this.states[shard]) this.square(shard, states[shard])
    }
    this.states = states
  },

  square(shard, letter) {
    const x = (shard % this.columns) * this.cell
    const y = Math.floor(shard / this.columns) * this.cell
    const { context, cell } = this
    context.clearRect(x, y, cell, cell)
    context.fillStyle = this.colors[letter] ?? this.colors.x
    context.fillRect(x + 0.5, y + 0.5, cell - 1.5, cell - 1.5)
    if (shard === this.chosen) {
      context.strokeStyle = styleOf('--choice')
      context.lineWidth = 2
      context.strokeRect(x + 1, y + 1, cell - 2.5, cell - 2.5)
    }
  },

  choose(shard) {
    if (shard < 0 || shard >= this.states.length || shard === this.chosen) return
    const before = this.chosen
    this.chosen = shard
    if (before >= 0) this.square(before, this.states[before])
    this.square(shard, this.states[shard])
    void showDetail()
    setText($('spoken'), `shard ${shard}: ${STATES[this.states[shard]] ?? 'not known'}`)
  },
}

let detailRequest = 0

/** What the stream says at once, the rest when it has come. */
async function showDetail() {
  const shard = grid.chosen
  if (shard < 0) return
  const request = ++detailRequest
  const worker = grid.workers[grid.owners.charCodeAt(shard) - FIRST_OWNER]
  let parts = [`${STATES[grid.states[shard]] ?? 'not known'}`, `owner ${worker?.id ?? 'nobody'}`]
  const show = () => {
    $('detail').replaceChildren(
      element('b', { text: `shard ${shard}` }),
      ...parts.map((text) => element('span', { text })),
    )
  }
  if ($('detail').dataset.shard !== String(shard)) show()
  $('detail').dataset.shard = String(shard)
  updateButtons()
  try {
    const answer = await fetch(`/dashboard/shards/${shard}`)
    if (!answer.ok || request !== detailRequest) return
    const told = await answer.json()
    const ms = (value) => (value < 0 ? 'none yet' : `${number(value)} ms`)
    parts = [
      ...parts,
      `round trip ${ms(told.heartbeatRttMs)}`,
      `last event ${told.lastEventAgeMs < 0 ? 'none yet' : `${number(told.lastEventAgeMs / 1000, 1)} s ago`}`,
      `${number(told.eventRate)} events/s`,
      `sequence ${number(told.received)}, ${number(told.lag)} not acknowledged`,
      ...(told.movingTo === '' ? [] : [`on its way to ${told.movingTo}`]),
    ]
    show()
  } catch {
    // The stream says that the worker is away.
  }
}

grid.canvas.addEventListener('mousemove', (event) => {
  const column = Math.floor(event.offsetX / grid.cell)
  if (column < grid.columns)
    grid.choose(Math.floor(event.offsetY / grid.cell) * grid.columns + column)
})
grid.canvas.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns }[
    event.key
  ]
  const end = { Home: 0, End: grid.states.length - 1 }[event.key]
  if (step === undefined && end === undefined) return
  event.preventDefault()
  grid.choose(end ?? (grid.chosen < 0 ? 0 : grid.chosen + step))
})
grid.canvas.addEventListener('focus', () => {
  if (grid.chosen < 0) grid.choose(0)
})

function showLegend(states) {
  const counts = {}
  for (let at = 0; at < states.length; at++) counts[states[at]] = (counts[states[at]] ?? 0) + 1
  const present = Object.keys(STATES).filter((letter) => counts[letter] > 0)
  const legend = $('legend')
  fillRows(
    legend,
    present,
    (letter) => letter,
    (letter) => {
      const swatch = element('i')
      swatch.style.background = `var(--${letter})`
      const label = element('span')
      return { node: element('li', {}, swatch, label), label }
    },
    (row, letter) => setText(row.label, `${number(counts[letter])} ${STATES[letter]}`),
  )
  return counts.r ?? 0
}

// Events per second.

const seconds = []
const totals = []
const byEvent = new Map()
let ratePlot

function plot(node, height, isSpark) {
  const line = {
    stroke: styleOf('--accent'),
    width: 1.2,
    fill: `${styleOf('--accent')}22`,
    points: { show: false },
  }
  const axis = {
    stroke: styleOf('--quiet'),
    grid: { stroke: styleOf('--line') },
    ticks: { show: false },
    size: 44,
  }
  return new uPlot(
    {
      width: isSpark ? 130 : Math.max(200, node.clientWidth),
      height,
      legend: { show: false },
      cursor: { show: !isSpark },
      scales: { y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: isSpark
        ? [{ show: false }, { show: false }]
        : [
            { ...axis, size: 50 },
            { ...axis, size: 60 },
          ],
      series: [{}, line],
    },
    [[], []],
    node,
  )
}

function showRates(snapshot) {
  seconds.push(snapshot.atMs / 1000)
  totals.push(snapshot.eventRate)
  if (seconds.length > HISTORY_SECONDS) {
    seconds.shift()
    totals.shift()
  }
  ratePlot ??= plot($('rate'), 150, false)
  ratePlot.setData([seconds, totals])
  const now = new Map(snapshot.events)
  for (const name of now.keys())
    if (!byEvent.has(name)) byEvent.set(name, Array(seconds.length - 1).fill(0))
  for (const [name, rates] of byEvent) {
    rates.push(now.get(name) ?? 0)
    while (rates.length > SPARK_SECONDS) rates.shift()
    if (!now.has(name) && rates.every((rate) => rate === 0)) byEvent.delete(name)
  }
  fillRows(
    $('events').tBodies[0],
    snapshot.events,
    ([name]) => name,
    () => {
      const row = tableRow(['', 'spark', 'n'])
      return { ...row, spark: plot(row.cells[1], 26, true) }
    },
    (row, [name, rate]) => {
      setText(row.cells[0], name)
      setText(row.cells[2], number(rate, rate < 10 ? 1 : 0))
      const rates = byEvent.get(name)
      row.spark.setData([seconds.slice(-rates.length), rates])
    },
  )
}

// Tables.

function showDestinations(destinations) {
  fillRows(
    $('destinations').tBodies[0],
    destinations,
    ({ worker, name }) => `${worker} ${name}`,
    () => tableRow(['', 'quiet', '', 'n', 'n', 'n', 'n']),
    ({ cells }, one) => {
      setText(cells[0], one.name)
      setText(cells[1], shortName(one.worker))
      setText(cells[2], one.isUp ? 'up' : 'away')
      cells[2].classList.toggle('bad', !one.isUp)
      setText(cells[3], `${number(one.lagSeconds, 1)} s`)
      setText(cells[4], number(one.queuedEvents))
      setText(cells[5], number(one.deliveredRate))
      setText(cells[6], number(one.droppedEvents))
      cells[6].classList.toggle('bad', one.droppedEvents > 0)
    },
  )
}

/** Without the suffix that makes an id unique. */
function shortName(id) {
  return id.replace(/\.[0-9a-f]{8}$/, '')
}

function showWorkers(workers) {
  fillRows(
    $('workers').tBodies[0],
    workers,
    ({ id }) => id,
    ({ id }) => {
      const row = tableRow(['', 'quiet', 'n', 'n', '', ''])
      const button = element('button', { type: 'button', text: 'Drain' })
      button.addEventListener(
        'click',
        () => void act({ action: row.isDraining ? 'undrain' : 'drain', worker: id }),
      )
      row.cells[5].append(button)
      return Object.assign(row, { button })
    },
    (row, one) => {
      row.isDraining = one.isDraining
      setText(row.cells[0], one.id)
      setText(row.cells[1], one.version)
      setText(row.cells[2], number(one.shards))
      setText(row.cells[3], number(one.eventRate))
      setText(
        row.cells[4],
        one.isReachable ? (one.isDraining ? 'draining' : '') : 'does not answer',
      )
      row.cells[4].classList.toggle('bad', !one.isReachable)
      setText(row.button, one.isDraining ? 'Undo drain' : 'Drain')
    },
  )
  const target = $('target')
  const names = workers.map(({ id }) => id).join('\n')
  if (target.dataset.names !== names) {
    target.dataset.names = names
    target.replaceChildren(...workers.map(({ id }) => element('option', { value: id, text: id })))
  }
}

function showIdentifies(told) {
  if (told === null) {
    setText($('identifies'), 'not known at the moment')
    return
  }
  const meter = $('budget')
  meter.max = told.total
  meter.low = told.reserve
  meter.value = told.left
  const hours = Math.round(told.resetAfterMs / 3600000)
  const stopped = told.stoppedBy === '' ? '' : ` Stopped by: ${told.stoppedBy}.`
  setText(
    $('identifies'),
    `${number(told.left)} of ${number(told.total)} are left, ${number(told.used)} used, ${number(told.reserve)} kept back; new ones in ${hours} h. ${number(told.waiting)} shards wait, ${told.maxConcurrency} at a time.${stopped}`,
  )
  $('identifies').classList.toggle('bad', told.stoppedBy !== '')
}

let lastHappening = ''

function showHappenings(happenings) {
  const newest = happenings.length === 0 ? '' : JSON.stringify(happenings[0])
  if (newest === lastHappening) return
  lastHappening = newest
  $('happenings').replaceChildren(
    ...happenings.map((one) =>
      element(
        'li',
        {},
        element('time', { text: new Date(one.atMs).toLocaleTimeString() }),
        element('small', {
          text: `${shortName(one.worker)}${one.shard < 0 ? '' : ` shard ${one.shard}`}`,
        }),
        element('span', { className: one.level, text: one.message }),
        document.createTextNode(' '),
        element('small', { text: one.fields }),
      ),
    ),
  )
}

// Actions.

function updateButtons() {
  const isReady = $('token').value !== '' && grid.chosen >= 0
  $('restart').disabled = !isReady
  $('move').disabled = !isReady
  setText(
    $('restart'),
    grid.chosen < 0 ? 'Restart the chosen shard' : `Restart shard ${grid.chosen}`,
  )
}

async function act(action) {
  const say = (text, isBad) => {
    setText($('outcome'), text)
    $('outcome').classList.toggle('bad', isBad)
  }
  const token = $('token').value
  if (token === '') {
    say('Give the admin token first.', true)
    return
  }
  try {
    const answer = await fetch('/dashboard/actions', {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(action),
    })
    if (answer.ok) say(`Asked for: ${Object.values(action).join(' ')}.`, false)
    else say(await answer.text(), true)
  } catch {
    say('The worker does not answer.', true)
  }
}

$('token').addEventListener('input', updateButtons)
$('actions').addEventListener('submit', (event) => event.preventDefault())
$('restart').addEventListener('click', () => void act({ action: 'restart', shard: grid.chosen }))
$('move').addEventListener('click', () => {
  void act({ action: 'move', shard: grid.chosen, worker: $('target').value })
})

// The stream.

function show(snapshot) {
  const startedAt = performance.now()
  setText($('fleet'), snapshot.fleet)
  grid.owners = snapshot.owners
  grid.workers = snapshot.workers
  grid.draw(snapshot.states)
  const ready = showLegend(snapshot.states)
  setText(
    $('figures'),
    `${number(ready)} of ${number(snapshot.states.length)} shards ready · ${number(snapshot.eventRate)} events/s · ${snapshot.workers.length} workers`,
  )
  $('stale').hidden = snapshot.staleBecause === ''
  setText($('stale'), snapshot.staleBecause)
  showRates(snapshot)
  showDestinations(snapshot.destinations)
  showWorkers(snapshot.workers)
  showIdentifies(snapshot.identifies)
  showHappenings(snapshot.happenings)
  void showDetail()
  // For whoever measures the page.
  document.body.dataset.updates = String(Number(document.body.dataset.updates ?? 0) + 1)
  document.body.dataset.scriptMs = (performance.now() - startedAt).toFixed(2)
}

const stream = new EventSource('/dashboard/stream')
stream.addEventListener('message', (event) => show(JSON.parse(event.data)))
stream.addEventListener('failed', (event) => {
  $('stale').hidden = false
  setText($('stale'), JSON.parse(event.data))
})
stream.addEventListener('error', () => {
  $('stale').hidden = false
  setText($('stale'), 'This worker does not answer; trying again.')
})

/** Colours and sizes are read once: another scheme or width draws all of it anew. */
function redraw() {
  const { states } = grid
  grid.isStale = true
  if (states !== '') grid.draw(states)
  ratePlot?.destroy()
  ratePlot = undefined
  const { rowsByKey } = $('events').tBodies[0]
  for (const { node } of rowsByKey?.values() ?? []) node.remove()
  rowsByKey?.clear()
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw)
addEventListener('resize', redraw)
