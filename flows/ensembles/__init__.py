"""Many flows of one shape in one program. Imports landscapes."""
