package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/load"
)

// How much more all objects may take than the first tenth of them.
const (
	// Bytes of memory: a proxy remembers up to 32 MiB of listings, and Go lets a heap double before it collects.
	manyFactor, manyMore = 1.25, 96 << 20
	readyMore            = 2 * time.Second
	firstMore            = 500 * time.Millisecond
)

// bulk is a run of "load many".
type bulk struct {
	o       options
	c       *cluster.Cluster
	many    *load.Many
	objects int
	looks   []look
}

// look is what a number of objects takes.
type look struct {
	objects                            int
	wrote                              time.Duration // those that the look before had not
	writePeak                          int64
	listCold, listWarm                 time.Duration
	pages                              int
	requestsCold, requestsWarm         int64 // to MinIO
	listPeak, sweepPeak, restarted, at int64
	sweep, ready, first                time.Duration
	swept                              string
}

func manyCommand(ctx context.Context, l *loading, args []string) (int, error) {
	b := &bulk{}
	l.flags.IntVar(&b.objects, "objects", 1_000_000, "how many objects there are")
	size := l.flags.Int64("size", 100, "bytes of each")
	uploads := l.flags.Int("uploads", 50, "how manyth is an upload of one part, with a manifest that a sweep looks at; 0 for none")
	workers := l.flags.Int("workers", 32, "how many are written at a time")
	if err := l.parse(args); err != nil {
		return misused, err
	}
	if b.objects < 10 {
		return misused, errors.New("10 objects are the least")
	}
	c, t, err := l.start(ctx, time.Now())
	if err != nil {
		return undecided, err
	}
	b.o, b.c, b.many = l.o, c, load.NewMany(t, *size, *uploads, *workers)
	err = b.run(ctx)
	b.many.Close()
	if err := errors.Join(err, c.Close()); err != nil {
		return undecided, err
	}
	page, found := b.markdown(), b.grown()
	for _, f := range found {
		page += "- " + f + "\n"
	}
	fmt.Print(page)
	if err := os.WriteFile(filepath.Join(c.Dir, "summary.md"), []byte(page), 0o600); err != nil {
		return undecided, err
	}
	if len(found) > 0 {
		return violated, nil
	}
	return good, nil
}

// run writes a tenth of the objects, and then the others, and looks at what each takes.
func (b *bulk) run(ctx context.Context) error {
	written := 0
	for _, objects := range []int{b.objects / 10, b.objects} {
		v := look{objects: objects}
		if err := load.ResetPeak(b.proxy().PID()); err != nil {
			return err
		}
		began := time.Now()
		err := b.many.Write(ctx, written, objects, func(done int) {
			b.o.cluster.Logf("%d objects, %.0f a second", written+done, float64(done)/time.Since(began).Seconds())
		})
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		v.wrote = time.Since(began)
		if v.writePeak, err = load.Memory(b.proxy().PID(), "VmHWM"); err != nil {
			return err
		}
		if err := b.look(ctx, &v); err != nil {
			return err
		}
		b.o.cluster.Logf("%+v", v)
		b.looks, written = append(b.looks, v), objects
	}
	return nil
}

func (b *bulk) proxy() *cluster.Server { return b.c.Proxies[0] }

// look measures what the objects take that are there: a proxy that was just started lists them, and once more.
func (b *bulk) look(ctx context.Context, v *look) (err error) {
	if v.ready, err = b.restart(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := b.many.Get(ctx, v.objects/2); err != nil {
		return fmt.Errorf("first GET: %w", err)
	}
	v.first = time.Since(began)
	if v.restarted, err = load.Memory(b.proxy().PID(), "VmRSS"); err != nil {
		return err
	}
	if err := load.ResetPeak(b.proxy().PID()); err != nil {
		return err
	}
	for _, list := range []struct {
		took     *time.Duration
		requests *int64
	}{{&v.listCold, &v.requestsCold}, {&v.listWarm, &v.requestsWarm}} {
		before, err := upstreamRequests(ctx, b.proxy().Metrics)
		if err != nil {
			return err
		}
		began := time.Now()
		if v.pages, err = b.many.List(ctx, v.objects); err != nil {
			return fmt.Errorf("list: %w", err)
		}
		*list.took = time.Since(began)
		after, err := upstreamRequests(ctx, b.proxy().Metrics)
		if err != nil {
			return err
		}
		*list.requests = after - before
	}
	if v.listPeak, err = load.Memory(b.proxy().PID(), "VmHWM"); err != nil {
		return err
	}
	began = time.Now()
	out, peak, err := b.c.Measured(ctx, b.proxy(), "object", "sweep", "--force", "--older-than", "1s")
	if err != nil {
		return err
	}
	v.sweep, v.sweepPeak = time.Since(began), peak
	lines := strings.Split(strings.TrimSpace(out), "\n")
	v.swept = lines[len(lines)-1]
	v.at, err = load.Memory(b.proxy().PID(), "VmRSS")
	return err
}

// restart ends the proxy and starts it again, and says how long that takes until it is ready.
func (b *bulk) restart(ctx context.Context) (time.Duration, error) {
	b.many.Close()
	b.proxy().Terminate(time.Minute)
	began := time.Now()
	b.proxy().Start()
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err := b.proxy().WaitReady(limited)
	return time.Since(began), err
}

// upstreamRequests is how many requests a proxy sent to MinIO so far.
func upstreamRequests(ctx context.Context, metrics string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, metrics, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines, sum := bufio.NewScanner(answer.Body), 0.0
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if strings.HasPrefix(name, "bucketseal_upstream_requests_total") {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return int64(sum), lines.Err()
}

// grown says what grew with the number of objects, and should not have.
func (b *bulk) grown() (found []string) {
	few, all := b.looks[0], b.looks[1]
	for _, m := range []struct {
		what    string
		was, is int64
	}{
		{"memory while writing", few.writePeak, all.writePeak},
		{"memory while listing", few.listPeak, all.listPeak},
		{"memory of the sweep", few.sweepPeak, all.sweepPeak},
		{"memory after a restart", few.restarted, all.restarted},
		{"memory in the end", few.at, all.at},
	} {
		if float64(m.is) > float64(m.was)*manyFactor+manyMore {
			found = append(found, fmt.Sprintf("%s: %d MiB with %d objects, %d MiB with %d", m.what, m.was>>20, few.objects, m.is>>20, all.objects))
		}
	}
	if all.ready > few.ready+readyMore {
		found = append(found, fmt.Sprintf("restart: ready after %v with %d objects, after %v with %d", few.ready, few.objects, all.ready, all.objects))
	}
	if all.first > few.first+firstMore {
		found = append(found, fmt.Sprintf("first GET: %v with %d objects, %v with %d", few.first, few.objects, all.first, all.objects))
	}
	return found
}

// markdown is what it came to, as docs/reliability.md has it.
func (b *bulk) markdown() string {
	var s strings.Builder
	row := func(what string, show func(look) string) {
		fmt.Fprintf(&s, "| %s | %s | %s |\n", what, show(b.looks[0]), show(b.looks[1]))
	}
	memory := func(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
	span := func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
	fmt.Fprintf(&s, "| | %d objects | %d objects |\n|---|---:|---:|\n", b.looks[0].objects, b.looks[1].objects)
	row("written, since the column before", func(v look) string { return span(v.wrote) })
	row("memory while writing, at most", func(v look) string { return memory(v.writePeak) })
	row("restart to ready", func(v look) string { return span(v.ready) })
	row("first GET after it", func(v look) string { return v.first.Round(time.Millisecond).String() })
	row("memory then", func(v look) string { return memory(v.restarted) })
	row("listing after it: time, requests to MinIO", func(v look) string { return fmt.Sprintf("%s, %d", span(v.listCold), v.requestsCold) })
	row("listing once more", func(v look) string { return fmt.Sprintf("%s, %d", span(v.listWarm), v.requestsWarm) })
	row("pages", func(v look) string { return strconv.Itoa(v.pages) })
	row("memory while listing, at most", func(v look) string { return memory(v.listPeak) })
	row("sweep", func(v look) string { return span(v.sweep) })
	row("memory of the sweep, at most", func(v look) string { return memory(v.sweepPeak) })
	row("memory in the end", func(v look) string { return memory(v.at) })
	fmt.Fprintf(&s, "\nThe sweep: %s\n", b.looks[1].swept)
	return s.String()
}
