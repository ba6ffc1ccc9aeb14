import { useEffect, useState } from 'preact/hooks';
import type { ApiError } from '../api';
import { offline } from '../state';

/**
 * What is loaded a page at a time: `load` gets what there is, nothing at first, and gives all of it with one page more. Begun anew when
 * the key changes, after a pause for whoever is typing, and once the service answers again.
 */
export function usePages<T>(key: string, load: (before: T | undefined, signal: AbortSignal) => Promise<T>, pause = 0) {
  const [all, setAll] = useState<T>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const run = async (before: T | undefined, signal = new AbortController().signal) => {
    setBusy(true);
    try {
      const more = await load(before, signal);
      if (signal.aborted) return;
      setAll(() => more);
      setError(undefined);
    } catch (failure) {
      if (signal.aborted) return;
      setError(failure as ApiError);
    }
    setBusy(false);
  };
  const online = offline.value === undefined;
  useEffect(() => {
    const end = new AbortController();
    const timer = setTimeout(() => void run(undefined, end.signal), pause);
    return () => {
      clearTimeout(timer);
      end.abort();
    };
  }, [key]);
  useEffect(() => {
    if (online && error && all === undefined) void run(undefined);
  }, [online]);
  return { all, error, busy, more: () => void run(all) };
}
