package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/link"
	"github.com/bucketseal/bucketseal/chaos/secretstore"
)

func canCutPeers(c *cluster.Cluster) bool { return several(c) && c.CanCut() }
func canFill(c *cluster.Cluster) bool     { return c.CanFill() }
func canSlow(c *cluster.Cluster) bool     { return c.CanSlow() }
func several(c *cluster.Cluster) bool     { return len(c.MinIOs) > 1 }
func hasSeal(c *cluster.Cluster) bool     { return !c.Bare }

func fillsSeal(c *cluster.Cluster) bool { return hasSeal(c) && c.CanFill() }
func clocked(c *cluster.Cluster) bool   { return hasSeal(c) && c.Clocked }

// all are the kinds of faults there are.
func all() []kind {
	s := time.Second
	return []kind{
		{"kill-minio", storage, 2 * s, 30 * s, nil, killOne(minios), ofMinIO},
		{"kill-two-minios", storage, 2 * s, 15 * s, several, killTwo(minios), ofMinIO},
		{"pause-minio", storage, 2 * s, 60 * s, nil, pause(minios), ofMinIO},
		{"cut-minio", storage, 3 * s, 45 * s, canCutPeers, cutPeers, ofMinIO},
		{"lossy-minio", storage, 3 * s, 45 * s, canCutPeers, losePackets, ofMinIO},
		{"slow-drive", storage, 4 * s, 45 * s, canSlow, slowDrive, ofMinIO},
		{"full-drive", storage, 4 * s, 45 * s, canFill, fill(minios), ofMinIO},
		{"replace-minio", storage, 2 * s, 10 * s, several, replace, ofMinIO},
		{"clock-minio", storage, 4 * s, 45 * s, func(c *cluster.Cluster) bool { return c.MinIOClocked }, turnClock(minios), ofClock},
		{"link-minio", storage, 3 * s, 40 * s, hasSeal, links("proxy-%d>minio-%d", 3, 4), elsewhere},

		{"kill-proxy", front, 1 * s, 10 * s, hasSeal, killOne(proxies), elsewhere},
		{"pause-proxy", front, 2 * s, 60 * s, hasSeal, pause(proxies), elsewhere},
		{"restart-proxy", front, 1 * s, 3 * s, hasSeal, restart(""), elsewhere},
		{"hand-over", front, 1 * s, 3 * s, hasSeal, handOver, elsewhere},
		{"upgrade", front, 1 * s, 3 * s, upgradable, upgrade, elsewhere},
		{"clock-proxy", front, 4 * s, 45 * s, clocked, turnClock(proxies), elsewhere},
		{"memory", front, 4 * s, 60 * s, hasSeal, restart("GOMEMLIMIT=40MiB"), elsewhere},
		{"descriptors", front, 3 * s, 30 * s, hasSeal, descriptors, elsewhere},
		{"full-audit", front, 3 * s, 30 * s, fillsSeal, fill(audited), elsewhere},
		{"link-proxy", front, 3 * s, 40 * s, hasSeal, links("balancer>proxy-%d", 3, 0), elsewhere},
		{"sweep", front, 1 * s, 2 * s, hasSeal, sweep, elsewhere},

		{"kill-kms", keys, 1 * s, 15 * s, hasSeal, killOne(keyServers), elsewhere},
		{"kill-both-kms", keys, 2 * s, 20 * s, hasSeal, killTwo(keyServers), elsewhere},
		{"pause-kms", keys, 2 * s, 45 * s, hasSeal, pause(keyServers), elsewhere},
		{"link-kms", keys, 3 * s, 40 * s, hasSeal, links("proxy-%d>kms-%d", 3, 2), elsewhere},
		{"link-store", keys, 3 * s, 40 * s, hasSeal, links("kms-%d>store", 2, 0), elsewhere},
		{"store-read-only", keys, 3 * s, 40 * s, hasSeal, storeIs(secretstore.ReadOnly), elsewhere},
		{"store-throttled", keys, 3 * s, 40 * s, hasSeal, storeIs(secretstore.Throttled), elsewhere},
		{"store-gone", keys, 3 * s, 40 * s, hasSeal, storeIs(secretstore.Gone), elsewhere},
		{"rotate-key", keys, 1 * s, 2 * s, hasSeal, rotate, elsewhere},
		{"expired-certificate", keys, 4 * s, 40 * s, hasSeal, expire, elsewhere},
		{"clock-kms", keys, 4 * s, 45 * s, clocked, turnClock(keyServers), elsewhere},
		{"full-key-audit", keys, 3 * s, 30 * s, fillsSeal, fill(keyServers), elsewhere},
	}
}

func upgradable(c *cluster.Cluster) bool { return hasSeal(c) && c.Upgrade != "" }

// Which servers a kind is about.
type group func(*cluster.Cluster) []*cluster.Server

func minios(c *cluster.Cluster) []*cluster.Server     { return c.MinIOs }
func proxies(c *cluster.Cluster) []*cluster.Server    { return c.Proxies }
func keyServers(c *cluster.Cluster) []*cluster.Server { return c.KeyServers }

// audited are the proxies that have an audit file.
func audited(c *cluster.Cluster) []*cluster.Server { return c.Proxies[1:] }

func pick(g group, c *cluster.Cluster, r *rand.Rand) *cluster.Server {
	servers := g(c)
	return servers[r.IntN(len(servers))]
}

func nothing(context.Context) error { return nil }

// backWithin is how long is waited for a server that was started again, so that the next fault meets one that
// works. What another fault keeps down meanwhile is not an error.
const backWithin = 30 * time.Second

// back starts servers and waits a while for them.
func back(ctx context.Context, servers ...*cluster.Server) error {
	for _, s := range servers {
		s.Start()
	}
	waiting, cancel := context.WithTimeout(ctx, backWithin)
	defer cancel()
	for _, s := range servers {
		_ = s.WaitReady(waiting) // see backWithin
	}
	return nil
}

func killOne(g group) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, r *rand.Rand) action {
		s := pick(g, c, r)
		return action{
			s.Name,
			func(context.Context) error { s.Kill(); return nil },
			func(ctx context.Context) error { return back(ctx, s) },
		}
	}
}

func killTwo(g group) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, r *rand.Rand) action {
		servers := g(c)
		order := r.Perm(len(servers))
		a, b := servers[order[0]], servers[order[1]]
		return action{
			a.Name + " and " + b.Name,
			func(context.Context) error { a.Kill(); b.Kill(); return nil },
			func(ctx context.Context) error { return back(ctx, a, b) },
		}
	}
}

func pause(g group) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, r *rand.Rand) action {
		s := pick(g, c, r)
		return action{
			s.Name,
			func(context.Context) error { s.Stop(); return nil },
			func(context.Context) error { s.Continue(); return nil },
		}
	}
}

// cutPeers cuts a MinIO off from one other or from all, in both directions or in one.
func cutPeers(c *cluster.Cluster, r *rand.Rand) action {
	order := r.Perm(len(c.MinIOs))
	one, others := c.MinIOs[order[0]], order[1:2]
	if r.IntN(3) == 0 {
		others = order[1:]
	}
	how := r.IntN(3)
	var peers []string
	for _, o := range others {
		peers = append(peers, c.MinIOs[o].Name)
	}
	set := func(share float64) step {
		return func(context.Context) error {
			for _, peer := range peers {
				if how != 1 {
					if err := c.Drop(one.Name, peer, share); err != nil {
						return err
					}
				}
				if how != 2 {
					if err := c.Drop(peer, one.Name, share); err != nil {
						return err
					}
				}
			}
			return nil
		}
	}
	sign := []string{" <> ", " < ", " > "}[how]
	return action{one.Name + sign + strings.Join(peers, " "), set(1), set(0)}
}

func losePackets(c *cluster.Cluster, r *rand.Rand) action {
	order := r.Perm(len(c.MinIOs))
	a, b, share := c.MinIOs[order[0]].Name, c.MinIOs[order[1]].Name, 0.05+0.25*r.Float64()
	set := func(share float64) step {
		return func(context.Context) error {
			if err := c.Drop(a, b, share); err != nil {
				return err
			}
			return c.Drop(b, a, share)
		}
	}
	return action{fmt.Sprintf("%s <> %s %.0f %%", a, b, share*100), set(share), set(0)}
}

func slowDrive(c *cluster.Cluster, r *rand.Rand) action {
	s, rate := pick(minios, c, r), 64<<10<<r.IntN(4)
	return action{
		fmt.Sprintf("%s %d KiB/s", s.Name, rate>>10),
		func(context.Context) error { return c.Slow(s, rate) },
		func(context.Context) error { return c.Slow(s, 0) },
	}
}

func fill(g group) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, r *rand.Rand) action {
		s := pick(g, c, r)
		return action{
			s.Name,
			func(context.Context) error { return c.Fill(s) },
			func(context.Context) error { return c.Empty(s) },
		}
	}
}

// replace takes a MinIO's drive away for good. It is over when the new one has everything. Before, MinIO looks at
// every object: what faults before this one left on too few drives would be lost with one more, by MinIO's own rules.
func replace(c *cluster.Cluster, r *rand.Rand) action {
	s := pick(minios, c, r)
	return action{
		s.Name,
		func(ctx context.Context) error {
			limited, cancel := context.WithTimeout(ctx, healLimit)
			defer cancel()
			if err := c.HealStorage(limited); err != nil {
				return err // and nothing is taken away
			}
			s.Kill()
			return c.ReplaceDrive(s)
		},
		func(ctx context.Context) error {
			s.Start()
			if err := s.WaitReady(ctx); err != nil {
				return err
			}
			return c.HealStorage(ctx)
		},
	}
}

// links makes links faulty: one, or all of one client, or all to one server. The pattern has one number, or two.
func links(pattern string, clients, servers int) func(*cluster.Cluster, *rand.Rand) action {
	return func(c *cluster.Cluster, r *rand.Rand) action {
		if strings.Contains(pattern, "minio") {
			servers = len(c.MinIOs)
		}
		client, server, wide := 1+r.IntN(clients), 1+r.IntN(max(1, servers)), r.IntN(3)
		fault, text := drawFault(r)
		var names []string
		for i := 1; i <= clients; i++ {
			for j := 1; j <= max(1, servers); j++ {
				if (i == client || wide == 2) && (j == server || wide == 1) {
					name := fmt.Sprintf(pattern, i)
					if servers > 0 {
						name = fmt.Sprintf(pattern, i, j)
					}
					names = append(names, name)
				}
			}
		}
		set := func(f link.Fault) step {
			return func(context.Context) error {
				for _, name := range names {
					if l := c.Links[name]; l != nil {
						l.Set(f)
					}
				}
				return nil
			}
		}
		return action{strings.Join(names, " ") + " " + text, set(fault), set(link.Fault{})}
	}
}

func drawFault(r *rand.Rand) (link.Fault, string) {
	switch r.IntN(7) {
	case 0:
		return link.Fault{Refuse: true}, "refused"
	case 1:
		return link.Fault{StallUp: true, StallDown: true}, "partitioned"
	case 2:
		return link.Fault{StallUp: true}, "half-open: requests are lost"
	case 3:
		return link.Fault{StallDown: true}, "half-open: answers are lost"
	case 4:
		d := time.Duration(20+r.IntN(400)) * time.Millisecond
		return link.Fault{Delay: d}, fmt.Sprintf("delayed by %v", d)
	case 5:
		rate := 8 << 10 << r.IntN(6)
		return link.Fault{Rate: rate}, fmt.Sprintf("%d KiB/s", rate>>10)
	default:
		share := 0.01 + 0.2*r.Float64()
		return link.Fault{Break: share}, fmt.Sprintf("breaking off at %.0f %% of pieces", share*100)
	}
}
