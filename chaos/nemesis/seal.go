package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/secretstore"
)

// endLimit is how long a proxy may take to end in order.
const endLimit = 20 * time.Second

// restart ends a proxy in order and starts it with another environment, and with env "" just so. When that is
// over it is started once more, as it was.
func restart(env string) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, r *rand.Rand) action {
		s := pick(proxies, c, r)
		again := func(ctx context.Context) error {
			s.Terminate(endLimit)
			return back(ctx, s)
		}
		if env == "" {
			return action{s.Name, again, nothing}
		}
		return action{
			s.Name + " " + env,
			func(ctx context.Context) error { s.With("", env); return again(ctx) },
			func(ctx context.Context) error { s.With(""); return again(ctx) },
		}
	}
}

// handOver is of the first proxy, which has no audit file: one that has hands over to nobody.
func handOver(c *cluster.Cluster, _ *rand.Rand) action {
	s := c.Proxies[0]
	return action{
		s.Name,
		func(ctx context.Context) error {
			waiting, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return s.HandOver(waiting)
		},
		nothing,
	}
}

// upgrade has all proxies, one after the other, run the other binary, and afterwards this one again.
func upgrade(c *cluster.Cluster, _ *rand.Rand) action {
	roll := func(binary string) step {
		return func(ctx context.Context) error {
			for _, s := range c.Proxies {
				s.Terminate(endLimit)
				s.With(binary)
				if err := back(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return action{"all proxies to the other binary and back", roll(c.Upgrade), roll("")}
}

// turnClock sets a server's clock wrong by minutes or hours.
func turnClock(g group) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, r *rand.Rand) action {
		s := pick(g, c, r)
		seconds := []int64{30, 5 * 60, 20 * 60, 3 * 3600, 26 * 3600}[r.IntN(5)]
		if r.IntN(2) == 0 {
			seconds = -seconds
		}
		return action{
			fmt.Sprintf("%s %+v", s.Name, time.Duration(seconds)*time.Second),
			func(context.Context) error { return c.SetClock(s, seconds) },
			func(context.Context) error { return c.SetClock(s, 0) },
		}
	}
}

// spareDescriptors is how many files a proxy may open beyond those that it has.
const spareDescriptors = 4

func descriptors(c *cluster.Cluster, r *rand.Rand) action {
	s := pick(proxies, c, r)
	var before unix.Rlimit
	pid := 0
	return action{
		s.Name,
		func(context.Context) error {
			if pid = s.PID(); pid == 0 {
				return fmt.Errorf("%s does not run", s.Name)
			}
			open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			if err != nil {
				return err
			}
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
				return err
			}
			few := before
			few.Cur = uint64(len(open) + spareDescriptors)
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil)
		},
		func(context.Context) error {
			if pid == 0 || s.PID() != pid || before.Cur == 0 {
				return nil // the process with few of them has ended
			}
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil)
		},
	}
}

// sweepLimit is how long a sweep may take.
const sweepLimit = 2 * time.Minute

// sweep runs the command that removes what nothing needs, with the shortest horizon that it takes while clients
// write, and where the clock can be set with one that is wrong by almost as much as MinIO accepts.
func sweep(c *cluster.Cluster, r *rand.Rand) action {
	s := pick(proxies, c, r)
	minutes := []int{0, -14, 14}[r.IntN(3)]
	detail := "beside " + s.Name
	if c.Clocked {
		detail += fmt.Sprintf(" with a clock wrong by %d minutes", minutes)
	}
	return action{
		detail,
		func(ctx context.Context) error {
			file := filepath.Join(c.Dir, "sweep.clock")
			if err := os.WriteFile(file, fmt.Appendf(nil, "%d", minutes*60), 0o600); err != nil {
				return err
			}
			limited, cancel := context.WithTimeout(ctx, sweepLimit)
			defer cancel()
			_, err := c.RunCommand(limited, s, []string{"CHAOS_CLOCK=" + file}, "object", "sweep", "--older-than", "1h")
			return err
		},
		nothing,
	}
}

func storeIs(m secretstore.Mode) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, _ *rand.Rand) action {
		return action{
			"the key store",
			func(context.Context) error { c.Store.Set(m); return nil },
			func(context.Context) error { c.Store.Set(secretstore.Healthy); return nil },
		}
	}
}

func rotate(c *cluster.Cluster, r *rand.Rand) action {
	name := c.Keys[r.IntN(len(c.Keys))]
	return action{
		name,
		func(ctx context.Context) error {
			limited, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := c.RunAdmin(limited, "key", "rotate", name)
			return err
		},
		nothing,
	}
}

// expire gives one key server, or both, a certificate that has ended, and a good one afterwards. Connections
// are cut, so that the certificate is looked at.
func expire(c *cluster.Cluster, r *rand.Rand) action {
	servers := c.KeyServers
	if r.IntN(2) == 0 {
		servers = []*cluster.Server{pick(keyServers, c, r)}
	}
	detail := ""
	for _, s := range servers {
		detail += s.Name + " "
	}
	give := func(from, to time.Duration) step {
		return func(context.Context) error {
			for _, s := range servers {
				if err := c.Certify(s, time.Now().Add(from), time.Now().Add(to)); err != nil {
					return err
				}
			}
			for _, l := range c.Links {
				for _, s := range servers {
					if l.Target() == s.Address {
						l.Cut()
					}
				}
			}
			return nil
		}
	}
	const days = 24 * time.Hour
	return action{detail, give(-10*days, -time.Minute), give(-10*days, 100*days)}
}
