const DAY_TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const DAY = { year: 'numeric', month: 'short', day: 'numeric' } as const;
const DATE_TIME = new Intl.DateTimeFormat(undefined, { ...DAY, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const DATE = new Intl.DateTimeFormat(undefined, DAY);

/** A moment: the time for today, the date as well for other days. `day`: the date alone. */
export function Time({ at, day = false }: { at: string; day?: boolean }) {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  return (
    <time dateTime={at} title={DATE_TIME.format(date)}>
      {(day ? DATE : today ? DAY_TIME : DATE_TIME).format(date)}
    </time>
  );
}
