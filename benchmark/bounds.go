package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bounds are what bucketseal must not go beyond, each in a lab of its own.
type bounds struct {
	dir       string
	transfers int
	size      int64
	during    time.Duration
	idle      int
	starts    int
}

// boundNames are all of them.
const boundNames = "transfers,idle,start,range"

// newBounds adds the flags of the bounds.
func newBounds(flags *flag.FlagSet) *bounds {
	b := &bounds{size: gib}
	flags.IntVar(&b.transfers, "transfers", 64, "`NUMBER` of transfers at once, half PUT and half GET")
	flags.Func("transfer-size", "`MIB` of each (default 1024)", func(s string) error {
		_, err := fmt.Sscan(s, &b.size)
		b.size *= mib
		return err
	})
	flags.DurationVar(&b.during, "transfer-time", 30*time.Second, "after how long transfers are cut off; 0 lets all of them end")
	flags.IntVar(&b.idle, "idle", 10000, "`NUMBER` of idle connections")
	flags.IntVar(&b.starts, "starts", 7, "how often to start")
	return b
}

// boundsCommand tries all or some of them.
func boundsCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bounds", flag.ContinueOnError)
	b := newBounds(flags)
	only := flags.String("only", boundNames, "`NAMES` of bounds, with commas between")
	flags.StringVar(&b.dir, "dir", "", "`FOLDER` for a temporary one with the servers' data")
	if err := flags.Parse(args); err != nil {
		return err
	}
	all, err := b.try(ctx, strings.Split(*only, ","))
	printVerdicts(os.Stdout, all)
	return err
}

// try measures the bounds of these names.
func (b *bounds) try(ctx context.Context, names []string) ([]verdict, error) {
	var all []verdict
	for _, name := range names {
		f, ok := map[string]func(context.Context, *lab) ([]verdict, error){
			"transfers": b.tryTransfers, "idle": b.tryIdle, "start": b.tryStart, "range": b.tryRange,
		}[name]
		if !ok {
			return all, fmt.Errorf("no bound is called %q", name)
		}
		err := inLab(b.dir, func(l *lab) error {
			verdicts, err := f(ctx, l)
			all = append(all, verdicts...)
			return err
		})
		if err != nil {
			return all, fmt.Errorf("bound %s: %w", name, err)
		}
	}
	return all, nil
}

// sealAlone starts a MinIO and a bucketseal, and makes the bucket.
func (l *lab) sealAlone(ctx context.Context, settings string) (*target, error) {
	back, err := l.minio(ctx, "minio", false, false)
	if err != nil {
		return nil, err
	}
	front, err := l.seal(ctx, "seal", l.sealBin, back.addr, false, settings)
	if err != nil {
		return nil, err
	}
	t := &target{name: "seal-s3", front: front, back: back, bucket: "bounds", headers: sseS3}
	return t, t.makeBucket(ctx)
}

// tryTransfers has many large transfers go on at once.
func (b *bounds) tryTransfers(ctx context.Context, l *lab) ([]verdict, error) {
	const most = 128 * mib
	t, err := l.sealAlone(ctx, "")
	if err != nil {
		return nil, err
	}
	say("bounds: %d transfers of %d MiB", b.transfers, b.size/mib)
	if err := each(ctx, t, 1, func(_ int, c *connection) error { return t.putLarge(c, "read", b.size, nil) }); err != nil {
		return nil, err
	}
	if err := resetPeak(t.front.pid()); err != nil {
		return nil, err
	}
	under, cancel := context.WithCancel(ctx)
	if b.during > 0 {
		under, cancel = context.WithTimeout(ctx, b.during)
	}
	defer cancel()
	var moved atomic.Int64
	begun, err := b.transfer(under, t, &moved)
	if err != nil {
		return nil, err
	}
	peak, err := memoryOf(t.front.pid(), "VmHWM")
	if err != nil {
		return nil, err
	}
	return []verdict{{
		What: fmt.Sprintf("%d transfers of %d MiB at once, %.1f GiB moved", begun, b.size/mib, float64(moved.Load())/gib), Target: t.name,
		Goal: "peak memory <= 128 MiB", Value: fmt.Sprintf("%.1f MiB", float64(peak)/mib), Met: peak <= most && begun == b.transfers,
	}}, nil
}

// transfer runs them until they end or ctx does, and returns how many were under
// way at once.
func (b *bounds) transfer(ctx context.Context, t *target, moved *atomic.Int64) (int, error) {
	var begun atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, b.transfers)
	for i := range b.transfers {
		wg.Go(func() {
			c, err := dial(ctx, t.front.addr, nil)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			first := sync.OnceFunc(func() { begun.Add(1) })
			count := func(n int64) { moved.Add(n); first() }
			if i%2 == 0 {
				err = t.putLarge(c, fmt.Sprintf("written/%d", i), b.size, count)
			} else {
				c.keep = func(b []byte) { count(int64(len(b))) }
				_, _, err = c.do(t.get(time.Now(), "read", b.size))
			}
			if err != nil && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return int(begun.Load()), err
	default:
		return int(begun.Load()), nil
	}
}

// putLarge stores an object that is larger than content, which it repeats. count is
// told what was sent.
func (t *target) putLarge(c *connection, key string, size int64, count func(int64)) error {
	if err := c.SetDeadline(time.Now().Add(20 * time.Minute)); err != nil {
		return err
	}
	if _, err := c.Write(signedHead(time.Now(), "PUT", t.front.addr, "/"+t.bucket+"/"+key, "", size, t.headers...)); err != nil {
		return err
	}
	const piece = 256 * kib
	for at := int64(0); at < size; at += piece {
		from := at % int64(len(content()))
		n, err := c.Write(content()[from : from+min(piece, size-at)])
		if count != nil {
			count(int64(n))
		}
		if err != nil {
			return err
		}
	}
	a, err := c.head()
	if err == nil && a.status != 200 {
		err = c.unexpected(a, &request{head: []byte("PUT " + key + "\r\n"), want: 200})
	}
	if err == nil {
		_, err = c.discard(a)
	}
	return err
}

// tryIdle opens many connections that have carried a request and keep still.
func (b *bounds) tryIdle(ctx context.Context, l *lab) ([]verdict, error) {
	const most, settled = 150 * mib, 5 * time.Second
	t, err := l.sealAlone(ctx, fmt.Sprintf("limits: {max_connections: %d, idle: 10m}", b.idle+100))
	if err != nil {
		return nil, err
	}
	say("bounds: %d idle connections", b.idle)
	open := make([]*connection, b.idle)
	defer func() {
		for _, c := range open {
			if c != nil {
				c.Close()
			}
		}
	}()
	ask := t.requestFor(time.Now(), "HEAD", "", "", nil, 200, -1)
	const clients = 16
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for worker := range clients {
		wg.Go(func() {
			for i := worker; i < len(open) && errs[worker] == nil; i += clients {
				c, err := dial(ctx, t.front.addr, nil)
				if err == nil {
					open[i] = c
					c.buf = make([]byte, 4*kib) // the benchmark's own memory
					_, _, err = c.do(ask)
				}
				errs[worker] = err
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	time.Sleep(settled)
	resident, err := memoryOf(t.front.pid(), "VmRSS")
	if err != nil {
		return nil, err
	}
	peak, err := memoryOf(t.front.pid(), "VmHWM")
	if err != nil {
		return nil, err
	}
	return []verdict{{
		What: fmt.Sprintf("%d idle connections, each after a request", b.idle), Target: t.name, Goal: "resident memory <= 150 MiB",
		Value: fmt.Sprintf("%.1f MiB (%.1f at most)", float64(resident)/mib, float64(peak)/mib), Met: peak <= most,
	}}, nil
}

// tryStart starts again and again, over a system bucket and keys that are there.
func (b *bounds) tryStart(ctx context.Context, l *lab) ([]verdict, error) {
	const most = 200 * time.Millisecond
	t, err := l.sealAlone(ctx, "")
	if err != nil {
		return nil, err
	}
	say("bounds: %d starts", b.starts)
	var all []time.Duration
	for range b.starts {
		t.front.stop()
		began := time.Now()
		p, err := t.front.start(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, time.Since(began))
		t.front.process = p
	}
	slices.Sort(all)
	middle := percentile(all, 50)
	return []verdict{{
		What: fmt.Sprintf("start to ready, middle of %d", b.starts), Target: t.name, Goal: "<= 200 ms",
		Value: fmt.Sprintf("%.0f ms (%.0f–%.0f)", milliseconds(middle), milliseconds(all[0]), milliseconds(all[len(all)-1])), Met: middle <= most,
	}}, nil
}

// tryRange counts what a range of 1 MiB costs upstream once the object was read
// before: of one that was stored whole, and of one of parts.
func (b *bounds) tryRange(ctx context.Context, l *lab) ([]verdict, error) {
	t, err := l.sealAlone(ctx, "")
	if err != nil {
		return nil, err
	}
	k := kind{name: t.name, headers: sseS3}
	counters, err := l.counters(ctx, []kind{k}, []*target{t})
	if err != nil {
		return nil, err
	}
	w := work{op: "range", size: 64 * mib, clients: 1}
	whole := func(c *connection, key string) error { _, _, err := c.do(t.put(time.Now(), key, w.size)); return err }
	parts := func(c *connection, key string) error { return t.upload(c, key, w.size) }
	var all []verdict
	for _, c := range []struct {
		name  string
		store func(*connection, string) error
	}{{"whole", whole}, {"in parts", parts}} {
		err := each(ctx, t, 1, func(_ int, conn *connection) error {
			for i := range 4 {
				if err := c.store(conn, w.object(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return all, err
		}
		cost, err := counters[t.name].cost(ctx, w)
		if err != nil {
			return all, err
		}
		all = append(all, verdict{
			What: "a range of 1 MiB in 64 MiB that was stored " + c.name + ", read before", Target: t.name,
			Goal:  "1 request upstream, <= 1.20 of the bytes",
			Value: fmt.Sprintf("%.2f requests, %.2f of the bytes", cost.Requests, cost.Bytes), Met: cost.Requests == 1 && cost.Bytes <= 1.2,
		})
	}
	return all, nil
}
