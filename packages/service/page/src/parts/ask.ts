import { useCallback, useEffect, useState } from 'preact/hooks';
import { ask, type ApiError } from '../api';
import { signOut } from '../state';

export interface Asked<T> {
  value: T | undefined;
  error: ApiError | undefined;
  again(): void;
}

/** What an address of the API answers; asked again when the address changes and, where wanted, every so many milliseconds. */
export function useAsk<T>(path: string | undefined, every?: number): Asked<T> {
  const [answer, setAnswer] = useState<{ path: string; value?: T; error?: ApiError }>();
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (path === undefined) return;
    const end = new AbortController();
    const load = async () => {
      if (document.hidden && every !== undefined) return;
      try {
        setAnswer({ path, value: await ask<T>(path, { signal: end.signal }) });
      } catch (error) {
        if (end.signal.aborted) return;
        if ((error as ApiError).status === 401) signOut((error as ApiError).message);
        setAnswer({ path, error: error as ApiError });
      }
    };
    void load();
    const timer = every === undefined ? undefined : setInterval(() => void load(), every);
    return () => {
      end.abort();
      clearInterval(timer);
    };
  }, [path, every, turn]);
  const again = useCallback(() => setTurn((n) => n + 1), []);
  const current = answer?.path === path ? answer : undefined;
  return { value: current?.value, error: current?.error, again };
}
