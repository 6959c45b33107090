package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshproof/meshproof/scenarios"
)

func newList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the scenarios of the library",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			width := 0
			for _, e := range scenarios.Library() {
				width = max(width, len(e.Name)+2)
			}
			for _, e := range scenarios.Library() {
				name := e.Name
				for _, line := range wrap(e.Description, max(20, columns(w)-1-width)) {
					fmt.Fprintf(w, "%-*s%s\n", width, name, line)
					name = ""
				}
			}
			return nil
		},
	}
}
