package vault

import (
	"context"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/listing"
)

// List asks for one page of a listing.
type List = listing.List

// Page is a page of a listing as clients know it.
type Page = listing.Page

// Known is what is known of a listed object besides its entry.
type Known = listing.Known

// List returns one page of a listing, which the storage lets the caller have, as
// listing.Lister does.
func (v *Vault) List(ctx context.Context, c *caller.Caller, list *List) (*Page, error) {
	return v.lists.List(ctx, c, list)
}
