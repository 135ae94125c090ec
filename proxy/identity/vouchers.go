package identity

// Voucher is who vouches for an identity.
type Voucher struct {
	AccessKey string
	Kind      Kind
	Source    Source
}

// Vouchers are those who vouch for the identity: who asked for it, who asked for that one,
// and so on, as they were when it was learned. The last one is the operator's, or nobody
// asked for it.
func (i *Identity) Vouchers() []Voucher {
	if len(i.creators) == 0 {
		return nil
	}
	all := make([]Voucher, len(i.creators))
	for n, c := range i.creators {
		all[n] = Voucher{AccessKey: c.AccessKey, Kind: c.Kind, Source: c.Source}
	}
	return all
}
