import { useEffect, useState } from 'preact/hooks';
import { call } from '../api';

/** A picture that the token is needed for: fetched with it, and shown from memory. Nothing where there is none. */
export function SecretImage({ path, alt, class: name }: { path: string; alt: string; class?: string }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const end = new AbortController();
    let made: string | undefined;
    void (async () => {
      try {
        const response = await call(path, { signal: end.signal });
        made = URL.createObjectURL(await response.blob());
        if (end.signal.aborted) URL.revokeObjectURL(made);
        else setUrl(made);
      } catch {
        setUrl(undefined);
      }
    })();
    return () => {
      end.abort();
      if (made !== undefined) URL.revokeObjectURL(made);
    };
  }, [path]);
  return url === undefined ? null : <img class={name} src={url} alt={alt} />;
}
