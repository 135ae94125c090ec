// Package nemesis does to a cluster what can happen to one, by a plan that follows from a seed.
package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// Fault is one that was done and healed.
type Fault struct {
	Kind       string
	Start, End time.Time
	// Detail says where and how, and what failed of it.
	Detail string
}

// Planned is a fault to come.
type Planned struct {
	Lane, Kind, Detail string
	At, For            time.Duration
	start, heal        step
	node               node
}

// step is one side of a fault. What it returns is told in the fault's detail, and ends nothing, but for a heal
// that fails: then what follows would be no test.
type step func(ctx context.Context) error

// action is a fault that was drawn: where, how, and what to do.
type action struct {
	detail      string
	start, heal step
}

// kind is a kind of fault.
type kind struct {
	name, lane string
	// least and most are how long it lasts.
	least, most time.Duration
	// possible says whether the cluster permits it; nil for always.
	possible func(*cluster.Cluster) bool
	draw     func(*cluster.Cluster, *rand.Rand) action
	node     node
}

// node is what a fault is to MinIO's own servers.
type node int

const (
	// elsewhere: nothing.
	elsewhere node = iota
	// ofMinIO: a node of several. MinIO alone was seen to break promises under such faults (docs/reliability.md).
	// Afterwards it looks at every object, so that the next fault meets full redundancy.
	ofMinIO
	// ofClock: MinIO's clock. MinIO orders an object's versions by it, so that a write after the clock was set back is
	// acknowledged and not found.
	ofClock
)

// Lanes. In each there is one fault at a time, for two of one lane could be more than the cluster promises to
// bear, such as two drives lost.
const (
	storage = "storage"
	front   = "front"
	keys    = "keys"
)

// Times around faults.
const (
	// quietBefore the first and quietAfter the last fault the cluster is in order.
	quietBefore = 3 * time.Second
	quietAfter  = 8 * time.Second
	// gapLeast and gapMost lie between two faults of a lane.
	gapLeast = 2 * time.Second
	gapMost  = 8 * time.Second
	// healLimit is how long a heal may take.
	healLimit = 3 * time.Minute
)

// Nemesis does faults.
type Nemesis struct {
	cluster *cluster.Cluster
	seed    uint64
	kinds   []kind
}

// Kinds are the names of all kinds of faults.
func Kinds() []string {
	var names []string
	for _, k := range all() {
		names = append(names, k.name)
	}
	return names
}

// New returns a nemesis that does the faults named: with "all" those that the cluster permits, and with "ours"
// those of them after which MinIO alone keeps its promises. An unknown name is left out: ask Unknown before.
func New(c *cluster.Cluster, seed uint64, faults []string) *Nemesis {
	n := &Nemesis{cluster: c, seed: seed}
	for _, k := range all() {
		wanted := slices.Contains(faults, k.name) || slices.Contains(faults, "all") || (k.node == elsewhere || k.node == ofMinIO && c.OneMinIO) && slices.Contains(faults, "ours")
		if wanted && (k.possible == nil || k.possible(c)) {
			n.kinds = append(n.kinds, k)
		}
	}
	return n
}

// Unknown are the names that are of no kind of fault.
func Unknown(faults []string) []string {
	known := append(Kinds(), "all", "ours", "none")
	return slices.DeleteFunc(slices.Clone(faults), func(f string) bool { return slices.Contains(known, f) })
}

// LeftOut are kinds that this cluster does not permit.
func (n *Nemesis) LeftOut() []string {
	var names []string
	for _, k := range all() {
		if k.possible != nil && !k.possible(n.cluster) {
			names = append(names, k.name)
		}
	}
	return names
}

// Plan draws the faults of a run of that length, in the order in which they begin.
func (n *Nemesis) Plan(duration time.Duration) []Planned {
	var plan []Planned
	for i, lane := range []string{storage, front, keys} {
		r := rand.New(rand.NewPCG(n.seed, uint64(i))) //nolint:gosec // repeatable, no secret
		plan = append(plan, n.lane(lane, r, duration)...)
	}
	slices.SortStableFunc(plan, func(a, b Planned) int { return int(a.At - b.At) })
	return plan
}

// lane draws the faults of one lane: every kind once, in an order drawn anew each time.
func (n *Nemesis) lane(lane string, r *rand.Rand, duration time.Duration) []Planned {
	kinds := slices.DeleteFunc(slices.Clone(n.kinds), func(k kind) bool { return k.lane != lane })
	if len(kinds) == 0 {
		return nil
	}
	var plan []Planned
	at := quietBefore + between(r, 0, gapMost)
	for {
		r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, k := range kinds {
			lasts := between(r, k.least, max(k.least, min(k.most, duration/8)))
			a := k.draw(n.cluster, r)
			if at+lasts > duration-quietAfter {
				return plan
			}
			plan = append(plan, Planned{Lane: lane, Kind: k.name, Detail: a.detail, At: at, For: lasts, start: a.start, heal: a.heal, node: k.node})
			at += lasts + between(r, gapLeast, gapMost)
		}
	}
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return (least + time.Duration(r.Int64N(int64(most-least)))).Round(time.Millisecond)
}

// Run does the faults of a plan of that length, each lane for itself, and returns when all are healed. It ends
// early, healed, when ctx does, and with an error if something did not heal.
func (n *Nemesis) Run(ctx context.Context, duration time.Duration) ([]Fault, error) {
	began := time.Now()
	lanes := map[string][]Planned{}
	for _, p := range n.Plan(duration) {
		lanes[p.Lane] = append(lanes[p.Lane], p)
	}
	var mu sync.Mutex
	var done []Fault
	var errs []error
	var lanesDone sync.WaitGroup
	for _, plan := range lanes {
		lanesDone.Go(func() {
			for _, p := range plan {
				// What took longer than planned pushes nothing beyond the end.
				if !sleep(ctx, time.Until(began.Add(p.At))) || time.Since(began)+p.For > duration-quietAfter/2 {
					continue
				}
				f, err := n.do(ctx, p)
				mu.Lock()
				done = append(done, f)
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	lanesDone.Wait()
	slices.SortFunc(done, func(a, b Fault) int { return a.Start.Compare(b.Start) })
	return done, errors.Join(errs...)
}

// do does one fault and heals it.
func (n *Nemesis) do(ctx context.Context, p Planned) (Fault, error) {
	f := Fault{Kind: p.Kind, Start: time.Now(), Detail: p.Detail}
	n.cluster.Logf("fault: %s %s for %v", p.Kind, p.Detail, p.For.Round(100*time.Millisecond))
	if err := p.start(ctx); err != nil {
		f.Detail += "; " + oneLine(err)
		n.cluster.Logf("fault: %s %s: %v", p.Kind, p.Detail, err)
	}
	sleep(ctx, p.For)
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), healLimit)
	defer cancel()
	err := p.heal(healing)
	if p.node != elsewhere && err == nil {
		err = n.cluster.HealStorage(healing)
	}
	f.End = time.Now()
	n.cluster.Logf("healed: %s %s after %v", p.Kind, p.Detail, f.End.Sub(f.Start).Round(100*time.Millisecond))
	if err != nil {
		return f, fmt.Errorf("%s %s did not heal: %w", p.Kind, p.Detail, err)
	}
	return f, nil
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// sleep is false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
