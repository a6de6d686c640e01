/** Every option of `gateway migrate`. */
import type { Option } from './option.ts'

export const MIGRATE_OPTIONS: readonly Option[] = [
  {
    flag: 'psql',
    aliases: ['psqlAddr'],
    kind: 'secret',
    default: '',
    sentence: 'URL of the Postgres to bring to the schema of this version.',
  },
  {
    flag: 'yes',
    kind: 'switch',
    default: '',
    sentence: 'Does what the plan says. Without it the plan is shown and nothing is changed.',
  },
  {
    flag: 'rollback',
    kind: 'switch',
    default: '',
    sentence: 'Gives an adopted database back to tatsuworks/gateway. Stop every gateway first.',
  },
  {
    flag: 'prod',
    kind: 'switch',
    default: '',
    sentence: 'Logs JSON lines instead of text.',
  },
]
