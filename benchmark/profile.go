package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profileCommand drives one work at a bucketseal and collects its profiles.
func profileCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("profile", flag.ContinueOnError)
	load := flags.String("load", "get-4k", "`NAME` of the work, as in get-4k, put-1m-1, list")
	name := flags.String("target", "seal-s3", "`NAME` of the target")
	out := flags.String("out", "profiles", "`FOLDER` for the profiles, made if missing")
	seconds := flags.Int("seconds", 10, "how long to profile the processor, less than 30")
	if err := flags.Parse(args); err != nil {
		return err
	}
	w, err := workNamed(*load)
	if err != nil {
		return err
	}
	chosen, err := chooseKinds(*name)
	if err != nil {
		return err
	}
	return inLab("", func(l *lab) error {
		l.profiling = true
		targets, err := l.start(ctx, chosen, w.secure, say)
		if err != nil {
			return err
		}
		if len(targets) == 0 || targets[0].front.metrics == "" {
			return errors.New("only a bucketseal tells its profiles")
		}
		if err := os.MkdirAll(*out, 0o755); err != nil {
			return err
		}
		return w.profile(ctx, targets[0], *out, *seconds)
	})
}

// profile collects one profile after the other while the work goes on.
func (w work) profile(ctx context.Context, t *target, out string, seconds int) error {
	if err := w.prepareOnce(ctx, t); err != nil {
		return err
	}
	w.slot = time.Second
	under, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		for {
			s, err := w.measure(ctx, t)
			if err != nil || under.Err() != nil {
				ended <- err
				return
			}
			say("%s at %s: %s a second, %.3f processor seconds for 1,000", w.name(), t.name, figure(s.rate()), s.FrontCPU/float64(max(1, s.Ops))*1000)
		}
	}()
	base := fmt.Sprintf("%s-%s", w.name(), t.name)
	for _, p := range []struct{ file, path string }{
		{"cpu.pb.gz", fmt.Sprintf("profile?seconds=%d", seconds)},
		{"trace.out", "trace?seconds=2"},
		{"heap.pb.gz", "heap"},
		{"allocs.pb.gz", "allocs"},
		{"mutex.pb.gz", "mutex"},
		{"block.pb.gz", "block"},
	} {
		file := filepath.Join(out, base+"-"+p.file)
		if err := download(ctx, "http://"+t.front.metrics+"/debug/pprof/"+p.path, file); err != nil {
			return err
		}
		fmt.Println(file)
	}
	stop()
	return <-ended
}

// download stores what url answers with 200.
func download(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
