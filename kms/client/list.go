package client

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
)

// nameBytes are the bytes that key names are made of, in sorting order.
const nameBytes = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

const (
	// notAsked is no prefix that was asked for.
	notAsked = "*"
	// maxHyphens is the longest run of hyphens that is looked for where a
	// listing must be split: KES cannot be asked for names that begin "a-",
	// so each hyphen more costs 63 requests.
	maxHyphens = "---"
)

// maxListCalls ends a listing that a server never ends.
const maxListCalls = 100_000

type page struct {
	Names      []string `json:"names"`
	Identities []string `json:"identities"`
	ContinueAt string   `json:"continue_at"`
}

// lister collects the names of one kind (keys, policies, identities).
type lister struct {
	client *Client
	path   string
	prefix string
	found  map[string]bool
	calls  int
}

// ListKeys implements kms.Service.
func (c *Client) ListKeys(ctx context.Context, prefix string) ([]string, error) {
	return c.list(ctx, "/v1/key/list/", prefix)
}

// list returns all names that begin with prefix, sorted, each once, from both
// kinds of servers. Where a page is not the last, this project's server gives a
// token, recognisable as it is no possible name, to be sent in the prefix's
// place. KES gives the next name, but can continue nowhere: it takes what it is
// sent for a prefix. There the listing is split by the next character until
// every part fits one page.
func (c *Client) list(ctx context.Context, path, prefix string) ([]string, error) {
	l := &lister{client: c, path: path, prefix: prefix, found: make(map[string]bool)}
	if err := l.walk(ctx, prefix, notAsked, ""); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(l.found))
	for name := range l.found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// walk collects the names that begin with prefix. Those before next are known,
// and so is whether all names that begin with asked fit one page: they do not.
func (l *lister) walk(ctx context.Context, prefix, asked, next string) error {
	if strings.Trim(prefix, nameBytes) != "" || len(prefix) > maxPrefix {
		return nil // no name begins so
	}
	if asked != notAsked && strings.HasSuffix(prefix, maxHyphens+"-") && !strings.HasPrefix(next, prefix) {
		return nil
	}
	query := prefix
	for query != "" && kms.ValidateKeyName(query) != nil {
		query = query[:len(query)-1] // servers refuse prefixes that are no names, such as "my-"
	}
	if query == asked {
		return l.split(ctx, prefix, asked, next)
	}
	p, err := l.page(ctx, query)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for p.ContinueAt != "" && kms.ValidateKeyName(p.ContinueAt) != nil {
		if seen[p.ContinueAt] {
			return fmt.Errorf("%s: %w: %w: the listing goes in circles", l.path, kms.ErrUnavailable, errNotReadable)
		}
		seen[p.ContinueAt] = true
		if p, err = l.page(ctx, p.ContinueAt); err != nil {
			return err
		}
	}
	after := p.ContinueAt
	if after != "" && !strings.HasPrefix(after, query) {
		return fmt.Errorf("%s: %w: %w: the listing leaves its prefix", l.path, kms.ErrUnavailable, errNotReadable)
	}
	if after == "" || (after > prefix && !strings.HasPrefix(after, prefix)) {
		return nil
	}
	l.add(after)
	return l.split(ctx, prefix, query, max(next, after))
}

// maxPrefix is the length of the longest key name.
const maxPrefix = 80

// split walks the parts of a prefix, but for those that lie wholly before next.
func (l *lister) split(ctx context.Context, prefix, asked, next string) error {
	for _, b := range []byte(nameBytes) {
		part := prefix + string(b)
		if part < next && !strings.HasPrefix(next, part) {
			continue
		}
		if err := l.walk(ctx, part, asked, next); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) page(ctx context.Context, from string) (page, error) {
	if l.calls++; l.calls > maxListCalls {
		return page{}, fmt.Errorf("%s: %w: %w: the listing never ends", l.path, kms.ErrUnavailable, errNotReadable)
	}
	var p page
	if err := l.client.get(ctx, l.path, from, maxListBody, &p); err != nil {
		return page{}, err
	}
	for _, name := range append(p.Names, p.Identities...) {
		l.add(name)
	}
	return p, nil
}

func (l *lister) add(name string) {
	if strings.HasPrefix(name, l.prefix) {
		l.found[name] = true
	}
}
