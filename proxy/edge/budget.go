package edge

import (
	"net/netip"
	"sync"
)

// Claim says who wants something of which there is only so much.
type Claim struct {
	// Who is the account that proved who it is, or for a stranger its address.
	Who string
	// Stranger marks a caller who has proved nothing.
	Stranger bool
}

// Stranger is the claim of a caller of whom only its address is known; of IPv6, its
// /64.
func Stranger(from netip.Addr) Claim {
	return Claim{Who: clientOf(from).String(), Stranger: true}
}

// shares divides an amount. All strangers together get a part of it. Who holds some
// gets more only while an eighth as much stays free: so one account can use seven
// eighths while nobody else wants any, the next one seven eighths of the rest, and
// there is something left for who holds nothing. Less than eight is not divided.
// It is not safe for concurrent use.
type shares struct {
	total, free int64
	forAll      int64 // what strangers may hold, all together
	strangers   int64 // what they hold
	held        map[Claim]int64
}

func newShares(total, strangers int64) shares {
	return shares{total: total, free: total, forAll: strangers, held: make(map[Claim]int64)}
}

// may says whether c may have n more.
func (s *shares) may(c Claim, n int64) bool {
	if n > s.free {
		return false
	}
	total, free := s.total, s.free
	if c.Stranger {
		total, free = s.forAll, min(free, s.forAll-s.strangers)
		if n > free {
			return false
		}
	}
	return s.held[c] <= 7*(free-n) || total < 8
}

func (s *shares) take(c Claim, n int64) bool {
	if !s.may(c, n) {
		return false
	}
	s.free -= n
	s.held[c] += n
	if c.Stranger {
		s.strangers += n
	}
	return true
}

func (s *shares) give(c Claim, n int64) {
	s.free += n
	if c.Stranger {
		s.strangers -= n
	}
	if s.held[c] -= n; s.held[c] <= 0 {
		delete(s.held, c)
	}
}

// Budget is an amount, of memory or of anything else, that claimants share. It
// never makes anybody wait. It is safe for concurrent use.
type Budget struct {
	mu     sync.Mutex
	shares shares
}

// NewBudget returns a budget of total, of which strangers together may hold as much
// as given.
func NewBudget(total, strangers int64) *Budget {
	return &Budget{shares: newShares(total, strangers)}
}

// Take takes n for c, if c may have it.
func (b *Budget) Take(c Claim, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shares.take(c, n)
}

// Give gives back n that c took.
func (b *Budget) Give(c Claim, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shares.give(c, n)
}

// Free is what nobody holds.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shares.free
}
